"""What all sites of an experiment say together."""

from collections.abc import Sequence
from dataclasses import dataclass

from latecomer.errors import BadData
from latecomer.experiments.assignment import ARMS, Arm
from latecomer.experiments.counts import Counts
from latecomer.experiments.effects import Effect, effect
from latecomer.experiments.names import ALL
from latecomer.experiments.sizes import MISMATCH, mismatch
from latecomer.experiments.strata import Strata

#: What has to be the same at every site, or sums are not of one experiment.
ALIKE = ("experiment", "share", "shared_ids", "per")


@dataclass(frozen=True)
class Comparison:
    """The arms of an experiment, at each site and over all.

    Attributes:
        sites: (s,) what each counted.
        effects: By metric, and site or ``ALL``.
        mismatch: By site or ``ALL``, how likely arms of such sizes are.
    """

    sites: Sequence[Counts]
    effects: dict[str, dict[str, Effect]]
    mismatch: dict[str, float]

    @property
    def unlikely(self) -> dict[str, float]:
        """Of ``mismatch``, what no lot does; with shared ids one lot counts at every site.

        Then as many lots as ``ALL`` has users were not drawn, and its sizes are not judged.
        """
        judged = {site: p for site, p in self.mismatch.items() if not self._same_lots(site)}
        return {site: p for site, p in judged.items() if p < MISMATCH}

    def _same_lots(self, site: str) -> bool:
        return site == ALL and self.sites[0].shared_ids


def compared(sites: Sequence[Counts]) -> Comparison:
    """The sites of one experiment.

    Raises:
        BadData: They are of several, or counted otherwise, or one is there twice.
    """
    _check_alike(sites)
    first = sites[0]
    everybody: dict[Arm, int] = {each: sum(site.users[each] for site in sites) for each in ARMS}
    return Comparison(
        sites,
        {metric: _effects(sites, metric) for metric in first.sums},
        {each.site: mismatch(each.users, first.share) for each in sites}
        | {ALL: mismatch(everybody, first.share)},
    )


def _effects(sites: Sequence[Counts], metric: str) -> dict[str, Effect]:
    strata = Strata([each.stratum(metric) for each in sites], sites[0].shared_ids)
    own = {each.site: effect(Strata([each.stratum(metric)])) for each in sites}
    return {**own, ALL: effect(strata)}


def _check_alike(sites: Sequence[Counts]) -> None:
    first, names = sites[0], set[str]()
    for each in sites:
        for what in ALIKE:
            ours, other = getattr(first, what), getattr(each, what)
            if ours != other:
                raise BadData(
                    f"{first.site} and {each.site} differ in {what.replace('_', ' ')}: "
                    f"{ours} and {other}",
                    hint="count them alike",
                )
        if each.sums.keys() != first.sums.keys():
            raise BadData(
                f"{first.site} counted {', '.join(first.sums)}, {each.site} {', '.join(each.sums)}",
                hint="count the same metrics at every site",
            )
        if each.site in names:
            raise BadData(f"{each.site} is there twice", hint="a site's users count once")
        names.add(each.site)
