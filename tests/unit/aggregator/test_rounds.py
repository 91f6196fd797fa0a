import pytest

from latecomer import wire
from latecomer.aggregation import Aggregation
from latecomer.events import Version
from latecomer.store.port import Head
from latecomer_aggregator.rounds import Roster, announcement, prefetch, updates_in_force
from scenes import make_recipe


def limits(mode: str, k: int = 10) -> Aggregation:
    return Aggregation.model_validate({"mode": mode, "updates_per_version": k})


@pytest.mark.parametrize(
    ("mode", "live", "k"),
    [
        ("fedbuff", None, 10),
        ("fedbuff", 3, 3),
        ("fedbuff", 10, 10),
        ("fedbuff", 500, 10),
        ("fedbuff", 0, 1),
        ("fedasync", None, 1),
        ("fedasync", 500, 1),
        ("sync", None, 10),
        ("sync", 3, 10),
        ("sync", 500, 10),
        ("sync", 0, 10),
    ],
)
def test_updates_in_force(mode: str, live: int | None, k: int) -> None:
    assert updates_in_force(limits(mode), live) == k


def test_a_new_leader_does_not_know_who_is_alive_until_it_has_listened_for_a_while() -> None:
    roster = Roster(live_s=300.0, settle_s=30.0, started_s=1000.0)
    roster.heard("w1", 1001.0)
    assert roster.live(1029.9) is None
    assert roster.live(1030.0) == 1


def test_who_was_not_heard_from_for_too_long_is_not_alive() -> None:
    roster = Roster(live_s=60.0, settle_s=0.0, started_s=0.0)
    roster.heard("w1", 0.0)
    roster.heard("w2", 30.0)
    assert roster.live(60.0) == 2
    assert roster.live(60.1) == 1
    roster.heard("w1", 61.0)
    assert roster.live(90.1) == 1
    assert roster.live(200.0) == 0


def test_one_worker_is_counted_once_however_often_it_is_heard() -> None:
    roster = Roster(live_s=60.0, settle_s=0.0, started_s=0.0)
    for second in range(5):
        roster.heard("w1", second)
    assert roster.live(5.0) == 1


def test_who_is_heard_again_is_forgotten_after_those_who_were_not() -> None:
    roster = Roster(live_s=60.0, settle_s=0.0, started_s=0.0)
    for worker, now_s in (("w1", 0.0), ("w2", 1.0), ("w1", 50.0)):
        roster.heard(worker, now_s)
    assert roster.live(61.5) == 1
    roster.heard("w2", 61.5)
    assert roster.live(111.0) == 1


@pytest.mark.parametrize(("k", "held"), [(1, 32), (16, 32), (50, 100)])
def test_a_full_buffer_and_as_many_parked_fit_into_the_prefetch(k: int, held: int) -> None:
    assert prefetch(limits("fedbuff", k)) == held


def test_an_announcement_tells_what_to_fetch_and_how_to_train() -> None:
    recipe = make_recipe(max_staleness=12, spread_s=1.5)
    head = Head(Version(7, 41), "a" * 32, at_s=5.0)
    message = announcement(recipe, head)
    event = wire.decode_round(message.body)
    assert (message.exchange, message.routing_key) == ("latecomer.rounds", "round.shop.all")
    assert (event.version, event.manifest) == (Version(7, 41), "a" * 32)
    assert (event.max_staleness, event.spread_s) == (12, 1.5)
    assert event.plan == recipe.training.model_dump(mode="json")
    assert not message.persistent


def test_a_synchronous_round_announces_that_nobody_may_be_late() -> None:
    recipe = make_recipe(mode="sync", max_staleness=12)
    message = announcement(recipe, Head(Version(7, 0), "a" * 32, at_s=5.0))
    assert wire.decode_round(message.body).max_staleness == 0
