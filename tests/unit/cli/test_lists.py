"""Lists for a worker's people: one of them, or all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from latecomer.errors import BadData, ExitCode, NothingLearned
from latecomer.evaluation.protocol import RankingProtocol
from latecomer.events import Version
from latecomer.recommenders.families import family
from latecomer_cli import app, lists, recommend
from latecomer_cli.lists import Served
from latecomer_cli.output import Format, Output
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer
from scenes import ITEM_CATALOGUE, ITEMS, checkerboard, make_recipe, make_site, noise


@pytest.fixture
def site() -> Site:
    return make_site(checkerboard(12))


@pytest.fixture
def served(site: Site, tmp_path: Path) -> Served:
    own = family(make_recipe().model)
    trainer = Trainer(own, site, RankingProtocol(k=5), WorkerState(tmp_path / "state.sqlite"))
    model = noise(own.initial(ITEMS, seed=1))
    return Served(Version(7, 3), 1.7e9, model, trainer, ITEM_CATALOGUE)


@pytest.mark.parametrize("users_at_a_time", [1, 5, 100])
def test_everybody_is_recommended_what_he_would_be_alone(
    served: Served, users_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {user: found for each in served.everybody() for user, found in served.to([each], 4)}
    monkeypatch.setattr(lists, "CELLS_AT_A_TIME", users_at_a_time * ITEMS)
    together = dict(served.to(served.everybody(), 4))
    assert [*together] == [*served.trainer.site.users]
    for user, found in together.items():
        assert [each.item for each in found] == [each.item for each in alone[user]]
        assert [each.score for each in found] == pytest.approx(
            [each.score for each in alone[user]], rel=1e-5
        )


def test_nobody_is_recommended_what_he_has(served: Served, site: Site) -> None:
    known = site.split.everything()
    for row, (_, found) in enumerate(served.to(served.everybody(), ITEMS)):
        his = {
            ITEM_CATALOGUE.items[item]
            for item in known.items[known.indptr[row] : known.indptr[row + 1]]
        }
        shown = {each.item for each in found}
        assert not shown & his
        assert shown | his == {*ITEM_CATALOGUE.items}


def test_who_is_asked_for_comes_in_that_order_and_as_often(served: Served) -> None:
    first, second = served.everybody()[:2]
    asked = [second, first, second]
    assert [user for user, _ in served.to(asked, 3)] == asked


def test_before_anything_is_computed_it_is_said_who_is_not_known(served: Served) -> None:
    with pytest.raises(BadData, match="user 'nobody' is not among the 12 users"):
        served.to([served.everybody()[0], "nobody"], 3)


def lines_of(served: Served, chosen: Format, capsys: pytest.CaptureFixture[str]) -> list[str]:
    recommend.show_everybody(Output(chosen), served, 3)
    return capsys.readouterr().out.splitlines()


def test_for_machines_there_is_an_object_a_line(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [json.loads(line) for line in lines_of(served, Format.JSON, capsys)]
    assert [each["user"] for each in told] == served.everybody()
    assert {each["version"] for each in told} == {"7.3"}
    ((_, found),) = served.to([told[4]["user"]], 3)
    assert [each["item"] for each in told[4]["items"]] == [each.item for each in found]


def test_for_people_there_is_a_user_a_line_with_his_items(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = lines_of(served, Format.TABLE, capsys)
    ((user, found),) = served.to(served.everybody()[:1], 3)
    assert first.split() == [user, *(each.item for each in found)]
    assert len(others) == 11


def test_what_a_catalogue_calls_its_items_commands_no_terminal(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = tuple(f"\x1b]0;{item}\x07\n" for item in ITEM_CATALOGUE.items)
    theirs = replace(served, catalogue=replace(ITEM_CATALOGUE, items=hostile))
    lines = lines_of(theirs, Format.TABLE, capsys)
    assert len(lines) == 12
    assert all(line.isprintable() for line in lines)


def test_everybody_and_somebody_is_a_contradiction(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.run(["recommend", "c1", "--everybody"]) == ExitCode.BAD_USAGE
    assert "--everybody, or 'c1'?" in capsys.readouterr().err


def test_only_what_a_shop_sells_is_shown(served: Served) -> None:
    sold = ITEM_CATALOGUE.items[::3]
    theirs = served.only([*sold, "of tomorrow"])
    for user, found in theirs.to(served.everybody(), ITEMS):
        assert {each.item for each in found} <= {*sold}, user
    assert {each.item for each in theirs.to_anybody(ITEMS)} <= {*sold}
    with pytest.raises(BadData, match="none of 1 items to choose from is in the catalogue"):
        served.only(["of tomorrow"])


def test_how_many_of_them_are_not_in_the_catalogue_is_said(served: Served) -> None:
    with capture_logs() as logs:
        served.only(["of tomorrow", ITEM_CATALOGUE.items[0]])
    assert [(each["event"], each["count"], each["of"]) for each in logs] == [
        ("items.unknown", 1, 2)
    ]


def test_items_are_read_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "sold.txt"
    path.write_text("85123A\n\n 71053 \r\n")
    assert recommend.ids(path) == ["85123A", "71053"]
    with pytest.raises(BadData, match="cannot read"):
        recommend.ids(tmp_path / "none.txt")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadData, match="is not UTF-8"):
        recommend.ids(path)


def test_what_has_learned_from_nobody_recommends_nothing(served: Served) -> None:
    first = replace(served, version=Version(7, 0))
    with pytest.raises(NothingLearned, match=r"version 7\.0 has learned from nobody yet"):
        first.to(served.everybody(), 3)
    assert first.to_anybody(3)


def test_of_whom_a_version_tells_nothing_it_is_what_most_have(served: Served) -> None:
    nothing = {name: np.zeros_like(array) for name, array in served.model.items()}
    blank = replace(served, model=nothing)
    ((_, found),) = blank.to(served.everybody()[:1], 3)
    known = served.trainer.site.split.everything()
    his = {ITEM_CATALOGUE.items[item] for item in known.items[: known.indptr[1]]}
    others = [each for each in served.to_anybody(ITEMS) if each.item not in his]
    assert found == others[:3]
    assert found[0].score >= 1


def test_no_table_is_replaced_by_an_empty_one(served: Served, site: Site) -> None:
    nobody = make_site(checkerboard(12)).of_user(0)
    empty = replace(nobody, users=())
    served.trainer.site = empty
    with pytest.raises(BadData, match="this worker has no users"):
        recommend.show_everybody(Output(Format.JSON), served, 3)


def test_a_line_tells_of_when_its_version_is(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *_ = lines_of(served, Format.JSON, capsys)
    assert json.loads(first)["made_at_s"] == 1.7e9


def test_a_list_of_one_item_has_that_item_and_its_score(served: Served) -> None:
    (user, *_) = served.everybody()
    ((_, every),) = served.to([user], ITEMS)
    ((_, found),) = served.only([every[-1].item]).to([user], 3)
    assert found == [every[-1]]
