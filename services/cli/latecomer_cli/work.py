"""What the worker's commands share: its entry in the recipe, its data, its state."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from latecomer import connect, wire
from latecomer.clock import SystemClock
from latecomer.config import Settings
from latecomer.errors import (
    BadConfiguration,
    BadData,
    ChunkMissing,
    NotInitialised,
    StoreUnreachable,
)
from latecomer.events import UpdateSubmitted
from latecomer.fleet import FleetWorker
from latecomer.lifecycle import Stop
from latecomer.recipe import Recipe
from latecomer.recommenders.giveaway import GIVES_AWAY
from latecomer.store.port import ModelStore
from latecomer.tensors import Delta
from latecomer_cli import sites
from latecomer_cli.lists import Served
from latecomer_cli.output import Output
from latecomer_cli.reading import Reading
from latecomer_worker import app as service
from latecomer_worker import encode
from latecomer_worker.database import IN_MEMORY, WRITABLE, made
from latecomer_worker.fetch import ChunkCache, Snapshot, fetch
from latecomer_worker.rounds import last_manifest, last_version
from latecomer_worker.state import WorkerState

log = structlog.get_logger()


def entry_of(recipe: Recipe, name: str) -> FleetWorker:
    """A worker's entry in the recipe.

    Raises:
        BadConfiguration: There is none; names those there are.
    """
    entry = recipe.fleet.find(name)
    if entry is None:
        allowed = ", ".join(recipe.fleet.names())
        raise BadConfiguration(f"the recipe has no worker {name!r}; it has {allowed}")
    return entry


@contextmanager
def named(settings: Settings, recipe: Recipe, name: str, *, slots: bool) -> Iterator[FleetWorker]:
    """This process's entry in the recipe, kept from others by a file lock while it runs.

    With ``slots``, the first of ``<name>-1``, ``<name>-2``, … that no other process of this state
    folder has: found again, with its state, by whoever starts next.

    Raises:
        BadConfiguration: There is no such worker, it runs already, or the folder cannot be made.
    """
    made(settings.state_dir, "anything")
    for entry in _slots(recipe, name) if slots else [entry_of(recipe, name)]:
        with _locked(settings.state_dir / f"{entry.name}.lock") as free:
            if free:
                yield entry
                return
    raise BadConfiguration(
        f"{name!r} runs already on {settings.state_dir}, in every slot that the recipe gives it",
        hint="stop the other one, or set another LATECOMER_STATE_DIR",
    )


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a file, which tells people where; False if somebody else does.

    Raises:
        BadConfiguration: There can be no such file.
    """
    try:
        lock = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise BadConfiguration(f"cannot keep {path}: {error.strerror}", hint=WRITABLE) from error
    try:
        taken = _take(lock)
        # A disk that is full has no room for it, and the lock holds all the same.
        if taken:
            with suppress(OSError):
                os.ftruncate(lock, 0)
                os.write(lock, f"{socket.gethostname()}\n".encode())
        yield taken
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _slots(recipe: Recipe, name: str) -> list[FleetWorker]:
    found = next((each for each in recipe.fleet.workers if each.name == name and each.slots), None)
    return found.members() if found else []


@dataclass(frozen=True)
class Work:
    """A worker of a recipe that lies in ``folder``; ``data`` replaces the recipe's source."""

    settings: Settings
    recipe: Recipe
    folder: Path
    entry: FleetWorker | None
    data: Path | None

    def run(self, stop: Stop, *, once: bool) -> None:
        """Take part in rounds until told to stop."""
        assert self.entry is not None, "a worker has a name"
        reading = self._reading()
        with self._state() as state:
            state.claim(self.recipe.federation)
            service.run(
                self.settings,
                worker=self.entry.name,
                state=state,
                cache=self._cache(),
                open_site=lambda snapshot: reading.trainer(snapshot, state),
                look=reading.look,
                stop=stop,
                once=once,
            )

    def dry_run(self, stop: Stop, *, save: Path | None = None) -> dict[str, Any]:
        """Train one round on the head, as the agent would, and describe the update.

        Nothing is kept or sent. Every number of it is written to ``save``, if there is such a file
        to be.

        Raises:
            BadConfiguration: The file cannot be written.
            BadData: There would be none, or none before a verdict that is awaited.
        """
        assert self.entry is not None, "a worker has a name"
        snapshot = self._head()
        with self._state_for(snapshot) as state:
            if state.private.is_tentative():
                raise BadData(
                    f"{self.entry.name} sends nothing before the verdict on its last update",
                    hint="what there is to add depends on it; ask again when the worker has run",
                )
            trainer = self._reading().trainer(snapshot, state)
            sums = trainer.sums(snapshot.model)
            trained = trainer.train(
                snapshot.model,
                plan=Recipe.from_bytes(snapshot.recipe).training.model_dump(mode="json"),
                rng=np.random.default_rng(),
                should_stop=stop.is_set,
            )
            if not trained.examples:
                raise BadData(
                    f"{self.entry.name} has nothing to send to version {snapshot.version}",
                    hint="nobody here can be learned from, or all there is was added before",
                )
            coded = encode.coded(snapshot, trained, state)
        update = encode.describe(
            snapshot,
            trained,
            federation=self.recipe.federation,
            worker=self.entry.name,
            update_id=f"{self.entry.name}:dryrun:0",
            sums=sums,
            delta=coded.delta,
        )
        if save is not None:
            _write(save, update.delta)
        return _described(update, snapshot, users=trainer.people(trained))

    def served(self) -> Served:
        """What this worker serves from: the head; where that does not get here, what it has here.

        Raises:
            StoreUnreachable, ChunkMissing: It does not, and there is nothing here.
        """
        snapshot = self._head_or_held()
        with self._state_for(snapshot) as state:
            trainer = self._reading().trainer(snapshot, state)
            if trainer.private and not snapshot.manifest.layout.additive:
                self._note_strangers(state)
        manifest, catalogue = snapshot.manifest, snapshot.catalogue
        return Served(
            manifest.version,
            manifest.at_s,
            snapshot.model,
            trainer,
            sites.parsed_catalogue(self.recipe, catalogue),
        )

    def _note_strangers(self, state: WorkerState) -> None:
        """Say so where people's vectors are kept, and those of nobody are here."""
        if not state.private.users():
            log.warning(
                "private.unknown",
                worker=self._name(),
                state_dir=str(self.settings.state_dir.absolute()),
                hint="everybody is served as somebody new; are --name and LATECOMER_STATE_DIR "
                "those of the worker?",
            )

    def _head_or_held(self) -> Snapshot:
        try:
            return self._head()
        except (StoreUnreachable, ChunkMissing) as error:
            held = self._held()
            if held is None:
                raise
            log.warning("head.not_here", version=str(held.version), cause=str(error))
            return held

    def _head(self) -> Snapshot:
        """The head; the version that the worker falls back on stays beside it."""
        with self._state() as state:
            own = last_manifest(state)
        with self._store() as store:
            head = store.head()
            if head is None:
                raise NotInitialised(self.recipe.federation)
            return fetch(store, head.version, head.manifest, self._cache(), kept=own)

    def _held(self) -> Snapshot | None:
        """The version that the worker last trained on; None where not all of it is here."""
        with self._state() as state:
            version, manifest = last_version(state), last_manifest(state)
        if version is None or not manifest:
            return None
        with self._store() as store, suppress(StoreUnreachable):
            return fetch(store, version, manifest, self._cache(), kept=manifest)
        return None

    @contextmanager
    def _store(self) -> Iterator[ModelStore]:
        opened = connect.store(
            self.settings,
            federation=self.recipe.federation,
            client=f"latecomer-{self._name()}",
            clock=SystemClock(),
        )
        with closing(opened):
            yield opened

    def _reading(self) -> Reading:
        return Reading(self.recipe, self.folder, self.entry, self.data)

    @contextmanager
    def _state_for(self, snapshot: Snapshot) -> Iterator[WorkerState]:
        """The state to look at a version with, which changes nothing of the worker's.

        Of another epoch it is a new device's: the agent forgets its own as soon as it hears of it.
        """
        with self._state() as state:
            last = last_version(state)
            if last is None or last.epoch == snapshot.version.epoch:
                yield state
                return
        with closing(WorkerState(IN_MEMORY)) as blank:
            yield blank

    @contextmanager
    def _state(self) -> Iterator[WorkerState]:
        """The worker's own.

        Raises:
            BadConfiguration: It is of another federation.
        """
        with closing(WorkerState(self.settings.state_dir / f"{self._name()}.sqlite")) as state:
            state.check_owner(self.recipe.federation)
            yield state

    def _cache(self) -> ChunkCache:
        return ChunkCache(self.settings.state_dir / f"{self._name()}.chunks")

    def _name(self) -> str:
        return self.entry.name if self.entry else "everybody"


def show_dry_run(output: Output, body: dict[str, Any]) -> None:
    """What would leave, and what would not."""
    output.say("this is all that would leave this worker:")
    output.table("Header", ("field", "value"), body["header"].items())
    output.table(
        "Tensors",
        ("tensor", "rows", "shape", "bytes"),
        ((each["tensor"], each["rows"], each["shape"], each["bytes"]) for each in body["tensors"]),
    )
    output.say("not sent as such: interactions, user ids, private vectors of users")
    users = "1 user" if body["users"] == 1 else f"{body['users']} users"
    output.say(f"learned from {users}; but {body['gives_away']}")


def _write(path: Path, delta: Delta) -> None:
    """An update's tensors as ``numpy.load`` reads them; of a table, its rows' numbers as well."""
    arrays = {name: change.values for name, change in delta.items()}
    rows = {f"{name}.rows": each.rows for name, each in delta.items() if each.rows is not None}
    try:
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **rows)
    except OSError as error:
        raise BadConfiguration(
            f"cannot write the update to {path}: {error.strerror}", hint="choose another --save"
        ) from error


def _described(update: UpdateSubmitted, snapshot: Snapshot, *, users: int) -> dict[str, Any]:
    codec = encode.codec_of(snapshot)
    return {
        "header": update.model_dump(by_alias=True, mode="json"),
        "users": users,
        "gives_away": GIVES_AWAY[Recipe.from_bytes(snapshot.recipe).model.family],
        "tensors": [
            {
                "tensor": name,
                "rows": None if change.rows is None else len(change.rows),
                "shape": list(change.values.shape),
                "bytes": wire.payload_bytes({name: change}, codec),
            }
            for name, change in update.delta.items()
        ],
    }
