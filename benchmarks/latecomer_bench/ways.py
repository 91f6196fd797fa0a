"""The races of `latecomer bench stragglers`: the ways of aggregating, and which were tried."""

from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Race:
    """Who races, and how far.

    Attributes:
        devices: The sites are split into so many.
        target: Validation NDCG to reach.
        updates: Client trainings that each way may spend.
        evaluated_every: Trainings between two evaluations, whatever the mode: time to target is
            that exact.
        peers: Whether they race too; their settings were chosen for twenty and forty at once.
        swept: Whether all of theirs that were tried race.
    """

    ways: tuple[Way, ...]
    devices: int
    target: float
    updates: int
    evaluated_every: int = 20
    peers: bool = True
    swept: bool = False


#: Devices that train at once in what is compared first.
AT_ONCE = 20

#: As long as a recipe may wait: a barrier for nearly everybody.
BARRIER_S = 300.0

#: Eight settings were tried of each of seven kinds, with seeds 11 to 15: fedbuff, fedasync, a
#: barrier, over-selection and deadlines at twenty, fedbuff and deadlines at forty. Of each kind and
#: K or T, here is the one that took the least time on average; of equal ones the lowest rate. That
#: was to an NDCG of 0.05, when the item held out of a basket was the last of the catalogue's. The
#: first fedbuff way is the one that others are compared with: to 0.1, with the same seeds, it takes
#: 399 s, K of 5 takes 444 s and K of 10 489 s.
FEW = Race(
    (
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
    ),
    devices=100,
    target=0.1,
    updates=400,
)

#: And what was tried as well.
SWEPT = replace(
    FEW,
    ways=(
        *FEW.ways,
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
    ),
    swept=True,
)

#: Chosen with seed 11, to 0.06: of 16 settings of fedbuff (K of 5, 10, 20, 40), four of fedasync,
#: three of a barrier, four each of over-selection that drops a quarter and half, and ten of a
#: deadline (T of 15, 30, 60). A cohort of which the first quarter is kept reached it at no rate.
#: All but the barrier's are the highest rate that was tried, on either side.
MANY = Race(
    (
        Way("fedbuff", 5, 200, rate=48.0, row_floor=5),
        Way("fedbuff", 10, 200, rate=24.0),
        Way("fedasync", 1, 200, rate=24.0),
        Way("sync", 200, 200, rate=36.0),
        Way("sync", 150, 200, rate=144.0),
        Way("sync", 100, 200, rate=72.0),
        Way("sync", 200, 200, wait_s=15.0, rate=144.0),
    ),
    devices=1000,
    target=0.06,
    updates=3000,
    evaluated_every=50,
    peers=False,
)
