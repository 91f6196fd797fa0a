"""A worker's data at home: looked at from outside, and read by what the federation agreed on."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from latecomer.errors import NobodyLeft
from latecomer.fleet import FleetWorker
from latecomer.interactions.schema import Catalogue
from latecomer.outcomes.fields import Fields
from latecomer.recipe import Recipe
from latecomer_cli import consent, lists, sites
from latecomer_worker.fetch import Snapshot
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer

log = structlog.get_logger()

#: What was in the future when it was read is looked for again this often.
AGAIN_S = 3600.0

IN_THE_FUTURE = "time_in_the_future"


@dataclass
class Reading:
    """The data of a worker whose recipe lies in ``folder``; ``data`` replaces the recipe's source.

    Without an ``entry`` everybody's.
    """

    recipe: Recipe
    folder: Path
    entry: FleetWorker | None
    data: Path | None
    _early: bool = field(default=False, init=False)
    _runs: bool = field(default=False, init=False)

    def look(self) -> object:
        """What it looks like: another value once there is something new to read.

        What is later than a clock says has happened some hours on, or once a clock that was wrong
        is right, and no file is written for it.
        """
        files = sites.look(self.recipe, self.folder, source=self.data)
        return files, time.time() // AGAIN_S if self._early else 0

    def trainer(self, snapshot: Snapshot, state: WorkerState) -> Trainer:
        """The federation's recipe says how to learn; ours where the data is, and what of it.

        Raises:
            BadConfiguration: More is asked for than our recipe declares.
            BadData: The data cannot be used.
        """
        agreed = Recipe.from_bytes(snapshot.recipe)
        catalogue = sites.parsed_catalogue(agreed, snapshot.catalogue)
        consent.check(self.recipe, agreed, catalogue)
        try:
            site = self._site(agreed, catalogue, not_before_s=snapshot.manifest.at_s)
        except NobodyLeft as error:
            if not self._is_believed(error, state):
                raise
            log.warning("data.nobody_left", cause=str(error), hint="who was here is taken out")
            site = sites.of_nobody(catalogue, seed=agreed.seed)
        self._runs = True
        return lists.trainer(agreed, site, state, items=len(catalogue))

    def _site(self, agreed: Recipe, catalogue: Catalogue | Fields, *, not_before_s: float) -> Site:
        data, report = sites.read_data(
            self.recipe,
            self.folder,
            catalogue,
            source=self.data,
            not_before_s=not_before_s,  # a device that was off does not know the date
        )
        self._early = report.reasons[IN_THE_FUTURE] > 0
        # A file of our own is ours entirely; a published data set is still cut into sites.
        whole = self.data is not None and sites.is_own_file(self.recipe)
        own = None if whole else self.entry
        label = self.entry.label if self.entry else None
        return sites.site(data, own, catalogue, label=label, seed=agreed.seed)

    def _is_believed(self, error: NobodyLeft, state: WorkerState) -> bool:
        """Whether people were deleted, rather than never there, or sought where they are not.

        A recipe that names another region is read at a start alone: who was here while this ran,
        and is no more, was deleted. So was, where a file has no rows, who is remembered.
        """
        return self._runs or (error.no_rows and bool(state.private.users()))
