"""The ways of aggregating that `latecomer bench stragglers` compares, and which were tried."""

from dataclasses import dataclass

from latecomer_simulator import fleet


@dataclass(frozen=True)
class Way:
    """One way of aggregating.

    Attributes:
        k: Updates per version.
        concurrency: Devices that train at once; in a synchronous round, its cohort.
        wait_s: T of the recipe.
        rate: The server's learning rate is that of the recipe, times this.
        row_floor: As in a recipe: at least so many updates share a row's mean. With K, it is the
            mean over all K, as FLGo and Flower take it; with 1, over who touched the row.
    """

    mode: fleet.Mode
    k: int
    concurrency: int
    wait_s: float = 300.0
    rate: float = 1.0
    row_floor: int = 1


#: Devices that train at once in what is compared first.
AT_ONCE = 20

#: As long as a recipe may wait: a barrier for nearly everybody.
BARRIER_S = 300.0

#: Eight settings were tried of each of seven kinds, with seeds 11 to 15: fedbuff, fedasync, a
#: barrier, over-selection and deadlines at twenty, fedbuff and deadlines at forty. Of each kind and
#: K or T, here is the one that took the least time on average; of equal ones the lowest rate. That
#: was to an NDCG of 0.05, when the item held out of a basket was the last of the catalogue's.
DEFAULT = (
    Way("fedbuff", 3, 20, rate=12.0, row_floor=3),
    Way("fedbuff", 5, 20, rate=12.0, row_floor=5),
    Way("fedbuff", 10, 20, rate=24.0, row_floor=10),
    Way("fedasync", 1, 20, rate=6.0),
    Way("sync", 20, 20, rate=36.0),
    Way("sync", 15, 20, rate=36.0, row_floor=15),
    Way("sync", 20, 20, wait_s=60.0, rate=24.0),
    Way("sync", 20, 20, wait_s=30.0, rate=12.0),
    Way("fedbuff", 3, 40, rate=12.0, row_floor=3),
    Way("sync", 40, 40, wait_s=30.0, rate=24.0),
)

#: What was tried as well.
SWEEP = (
    *(Way("fedbuff", 3, 20, rate=rate, row_floor=3) for rate in (18.0, 24.0)),
    *(Way("fedbuff", 3, 20, rate=rate) for rate in (6.0, 12.0)),
    Way("fedbuff", 5, 20, rate=24.0, row_floor=5),
    *(Way("fedasync", 1, 20, rate=rate) for rate in (2.0, 3.0, 4.0, 9.0, 12.0, 18.0, 24.0)),
    *(Way("sync", 20, 20, rate=rate) for rate in (6.0, 12.0, 18.0, 24.0)),
    *(Way("sync", 20, 20, rate=rate, row_floor=20) for rate in (18.0, 36.0, 72.0)),
    *(Way("sync", 15, 20, rate=rate) for rate in (6.0, 12.0, 18.0, 24.0, 36.0)),
    *(Way("sync", 15, 20, rate=rate, row_floor=15) for rate in (18.0, 72.0)),
    *(Way("sync", 20, 20, wait_s=60.0, rate=rate) for rate in (12.0, 18.0)),
    *(Way("sync", 20, 20, wait_s=45.0, rate=rate) for rate in (12.0, 18.0)),
    *(Way("sync", 20, 20, wait_s=30.0, rate=rate) for rate in (18.0, 24.0)),
    Way("fedbuff", 3, 40, rate=9.0, row_floor=3),
    *(Way("fedbuff", 5, 40, rate=rate, row_floor=5) for rate in (9.0, 18.0)),
    *(Way("fedbuff", 10, 40, rate=rate, row_floor=10) for rate in (18.0, 36.0)),
    Way("fedbuff", 5, 40, rate=6.0),
    Way("fedbuff", 10, 40, rate=12.0),
    *(Way("sync", 40, 40, wait_s=15.0, rate=rate) for rate in (12.0, 24.0)),
    *(Way("sync", 40, 40, wait_s=30.0, rate=rate) for rate in (6.0, 12.0, 18.0)),
    *(Way("sync", 40, 40, wait_s=45.0, rate=rate) for rate in (12.0, 18.0)),
)
