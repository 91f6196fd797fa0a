"""A dry run shows what the agent would send, and changes nothing of the worker's."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from latecomer import connect
from latecomer.clock import SystemClock
from latecomer.config import Settings
from latecomer.errors import BadConfiguration, BadData, ChunkMissing, StoreUnreachable
from latecomer.events import Version
from latecomer.recipe import Recipe
from latecomer.recommenders.gram import COUNTED, PAIRS, Gram
from latecomer.recommenders.settings import GramModel
from latecomer.store.redis import RedisStore, embedded
from latecomer_cli import federation, sites, work
from latecomer_cli.lists import Suggestion
from latecomer_cli.output import Format, Output
from latecomer_worker.state import WorkerState

WORKER = "w1"
RECIPE: dict[str, Any] = {
    "federation": "shop",
    "data": {
        "source": "purchases.csv",
        "catalogue": "items.csv",
        "columns": {"user": "u", "item": "i", "time": "t"},
    },
    "model": {"family": "gram"},
    "fleet": {"workers": [{"name": WORKER}]},
}
USERS = 3
ITEMS = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    items = "".join(f"i{row},\n" for row in range(ITEMS))
    (tmp_path / "items.csv").write_text(f"item,description\n{items}")
    rows = [f"c{u},i{i},2024-01-0{i + 1}\n" for u in range(USERS) for i in range(6)]
    (tmp_path / "purchases.csv").write_text("u,i,t\n" + "".join(rows))
    return tmp_path


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.model_validate(RECIPE)


@pytest.fixture
def found(
    folder: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Version]]:
    """Founds the federation, or a new epoch of it."""
    client = embedded()
    opened = RedisStore(client, federation="shop", clock=SystemClock())
    monkeypatch.setattr(connect, "store", lambda *_, **__: opened)

    def founded(of: Recipe = recipe) -> Version:
        catalogue = sites.read_catalogue(of, folder)
        return federation.found(opened, of, catalogue, SystemClock(), new_epoch=True).head.version

    yield founded
    client.close()


@pytest.fixture
def worker(folder: Path, recipe: Recipe) -> work.Work:
    settings = Settings(state_dir=folder / "state", federation="shop")
    return work.Work(settings, recipe, folder, work.entry_of(recipe, WORKER), None)


@pytest.fixture
def state(folder: Path) -> Iterator[WorkerState]:
    state = WorkerState(folder / "state" / f"{WORKER}.sqlite")
    yield state
    state.close()


def counted(state: WorkerState, version: Version) -> None:
    """As after a round of ``version`` in which everything was added and folded."""
    users = [f"c{user}" for user in range(USERS)]
    private = Gram(GramModel()).initial_private(USERS)
    private[COUNTED][:, 0] = 0b1111
    with state.transaction():
        state.private.save(users, private)
        state.remember("last_round", {"version": version})


def test_what_was_added_in_a_former_epoch_would_be_sent_again(
    found: Callable[..., Version], worker: work.Work, state: WorkerState
) -> None:
    version = found()
    counted(state, version)
    with pytest.raises(BadData, match="nothing to send"):
        worker.dry_run(Event())
    found()
    assert worker.dry_run(Event())["header"]["examples"] == 4 * USERS
    assert state.fact("last_round")["version"] == list(version)


def test_of_counts_it_tells_of_those_who_have_something_new_or_are_gone(
    found: Callable[..., Version], worker: work.Work, state: WorkerState, folder: Path
) -> None:
    version = found()
    assert worker.dry_run(Event())["users"] == USERS
    counted(state, version)
    purchases = folder / "purchases.csv"
    with purchases.open("a") as file:
        file.write("c1,i7,2024-01-07\n")
    assert worker.dry_run(Event())["users"] == 1
    kept = [line for line in purchases.read_text().splitlines() if not line.startswith("c2,")]
    purchases.write_text("\n".join(kept) + "\n")
    body = worker.dry_run(Event())
    # The fifth item of one, and the four of who is gone.
    assert (body["users"], body["header"]["examples"]) == (2, 1 + 4)


@pytest.mark.parametrize(("users", "said"), [(1, "from 1 user;"), (2, "from 2 users;")])
def test_a_dry_run_says_of_how_many_people_the_update_is(
    capsys: pytest.CaptureFixture[str], users: int, said: str
) -> None:
    body: dict[str, Any] = {"header": {}, "tensors": [], "users": users, "gives_away": "much"}
    work.show_dry_run(Output(Format.TABLE), body)
    assert said in capsys.readouterr().out


def test_nothing_would_be_sent_before_the_verdict_on_what_was(
    found: Callable[..., Version], worker: work.Work, state: WorkerState
) -> None:
    version = found()
    state.remember("last_round", {"version": version})
    state.private.save_tentative("w1:boot:1", ["c0"], Gram(GramModel()).initial_private(1))
    with pytest.raises(BadData, match="before the verdict"):
        worker.dry_run(Event())


def test_a_dry_run_leaves_the_state_to_whoever_comes_first(
    found: Callable[..., Version], worker: work.Work, state: WorkerState
) -> None:
    found()
    worker.dry_run(Event())
    assert state.fact("federation") is None


def test_every_number_that_would_leave_can_be_saved(
    found: Callable[..., Version], worker: work.Work, tmp_path: Path
) -> None:
    found()
    path = tmp_path / "update.npz"
    body = worker.dry_run(Event(), save=path)
    (tensor,) = body["tensors"]
    with np.load(path, allow_pickle=False) as saved:
        assert saved.keys() == {PAIRS, f"{PAIRS}.rows"}
        # Everybody has four items to train on: of ten pairs, counted with themselves, three each.
        assert saved[PAIRS].tolist() == 10 * [[3.0]]
        assert len(saved[f"{PAIRS}.rows"]) == tensor["rows"] == 10
    with pytest.raises(BadConfiguration, match="cannot write the update"):
        worker.dry_run(Event(), save=tmp_path / "nowhere" / "update.npz")


def test_what_its_owner_did_not_agree_to_is_not_computed(
    found: Callable[..., Version], worker: work.Work
) -> None:
    found()
    others = Recipe.model_validate({**RECIPE, "model": {"family": "als"}, "training": {}})
    with pytest.raises(BadConfiguration, match="learns by gram, and this recipe says als"):
        replace(worker, recipe=others).dry_run(Event())


def recommended(worker: work.Work, user: str, k: int = 2) -> tuple[Version, list[Suggestion]]:
    """As if something had been learned."""
    served = worker.served()
    learned = replace(served, version=served.version._replace(number=1))
    ((_, found),) = learned.to([user], k)
    return served.version, found


class Away:
    """A store that does not answer."""

    def head(self) -> None:
        raise StoreUnreachable("no route to host")

    def read(self, _digests: object) -> None:
        raise StoreUnreachable("no route to host")

    def close(self) -> None: ...


def test_while_the_store_is_away_what_is_here_is_recommended_from(
    found: Callable[..., Version],
    worker: work.Work,
    state: WorkerState,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = found()
    manifest = connect.store().manifest(version).digest  # type: ignore[call-arg]
    before = recommended(worker, "c0")
    with pytest.MonkeyPatch.context() as away:
        away.setattr(connect, "store", lambda *_, **__: Away())
        with pytest.raises(StoreUnreachable):
            recommended(worker, "c0")
    state.remember("last_round", {"version": version, "manifest": manifest})
    # Of another epoch; whoever looks at it takes nothing from the worker.
    assert found() != version
    assert recommended(worker, "c0")[0] != before[0]
    monkeypatch.setattr(connect, "store", lambda *_, **__: Away())
    assert recommended(worker, "c0") == before
    for chunk in (worker.settings.state_dir / f"{WORKER}.chunks").iterdir():
        if chunk.name != manifest:
            chunk.unlink()
    with pytest.raises(StoreUnreachable):
        recommended(worker, "c0")


def test_whom_nothing_is_known_of_is_recommended_what_most_here_have(
    found: Callable[..., Version], worker: work.Work, folder: Path
) -> None:
    version = found()
    with (folder / "purchases.csv").open("a") as file:
        file.write("c3,i6,2024-02-01\nc4,i6,2024-02-01\nc5,i6,2024-02-02\nc6,i6,2024-02-01\n")
    served = worker.served()
    assert served.version == version
    assert served.to_anybody(3) == [
        Suggestion(f"i{item}", "", users) for item, users in ((6, 4.0), (0, 3.0), (1, 3.0))
    ]
    # Nobody here has i7: that is no recommendation.
    assert len(served.to_anybody(10)) == 7
    with pytest.raises(BadData, match="user 'c9' is not among the 7") as caught:
        recommended(worker, "c9")
    assert "for somebody new, name nobody" in str(caught.value.hint)


def test_who_is_in_a_state_folder_of_nobody_is_told(
    found: Callable[..., Version], worker: work.Work, tmp_path: Path
) -> None:
    """Everybody would get the lists of somebody new, night after night."""
    private = {"user.vector": np.ones((1, 4), np.float32)}
    two_tower = Recipe.model_validate({**RECIPE, "model": {"family": "two_tower"}, "training": {}})
    found(two_tower)
    theirs = replace(worker, recipe=two_tower)
    with capture_logs() as logs:
        theirs.served()
    (said,) = [each for each in logs if each["event"] == "private.unknown"]
    assert said["state_dir"] == str(worker.settings.state_dir.absolute())
    with theirs._state() as state:
        state.private.save(["c0"], private)
    with capture_logs() as logs:
        theirs.served()
    assert not [each for each in logs if each["event"] == "private.unknown"]


def test_a_version_that_expires_on_its_way_leaves_the_one_that_is_here(
    found: Callable[..., Version],
    worker: work.Work,
    state: WorkerState,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = found()
    manifest = worker._head().manifest.digest

    def expired(_work: work.Work) -> None:
        raise ChunkMissing("its version was superseded")

    monkeypatch.setattr(work.Work, "_head", expired)
    with pytest.raises(ChunkMissing):
        worker.served()
    state.remember("last_round", {"version": version, "manifest": manifest})
    assert worker.served().version == version
