import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from latecomer.clock import ManualClock
from latecomer.errors import StoreUnreachable
from latecomer.store.port import Lease
from latecomer_aggregator.background import Foreground
from latecomer_aggregator.leadership import Leadership
from scenes import LEASE_S, Federation, make_update, step


@pytest.fixture
def scene() -> Federation:
    return Federation()


def claim(scene: Federation, owner: str) -> Leadership:
    return Leadership(scene.open_store(), scene.clock, owner=owner, lease_s=LEASE_S)


def test_the_first_who_asks_leads_and_the_second_does_not(scene: Federation) -> None:
    first, second = claim(scene, "a"), claim(scene, "b")
    held = first.hold()
    assert held is not None
    assert held.owner == "a"
    assert second.hold() is None
    assert scene.store.holder() == held


def test_a_leader_that_renews_goes_on_with_the_same_fence(scene: Federation) -> None:
    leader = claim(scene, "a")
    held = leader.hold()
    for _ in range(10):
        scene.clock.advance(leader.pause_s)
        assert leader.hold() == held


def test_the_store_is_asked_three_times_per_lease_and_not_at_every_step(scene: Federation) -> None:
    leader = claim(scene, "a")
    held = leader.hold()
    scene.redis.connected = False
    scene.clock.advance(LEASE_S / 3 - 0.1)
    assert leader.hold() == held
    scene.clock.advance(0.2)
    with pytest.raises(StoreUnreachable):
        leader.hold()


def test_a_lease_is_kept_in_mind_while_the_store_is_away(scene: Federation) -> None:
    leader = claim(scene, "a")
    held = leader.hold()
    scene.redis.connected = False
    scene.clock.advance(leader.pause_s)
    with pytest.raises(StoreUnreachable):
        leader.hold()
    scene.redis.connected = True
    assert leader.hold() == held


def test_who_resigns_makes_room_at_once(scene: Federation) -> None:
    first, second = claim(scene, "a"), claim(scene, "b")
    held = first.hold()
    assert held is not None
    first.resign()
    successor = second.hold()
    assert successor is not None
    assert successor.fence > held.fence


def test_a_paused_leader_finds_out_that_another_one_leads(scene: Federation) -> None:
    paused, other = claim(scene, "a"), claim(scene, "b")
    assert paused.hold() is not None
    scene.lapse_lease()
    successor = other.hold()
    assert successor is not None
    assert paused.hold() is None
    paused.resign()
    assert scene.store.holder() == successor


def test_who_was_told_that_the_lease_is_lost_asks_again_at_once(scene: Federation) -> None:
    leader, other = claim(scene, "a"), claim(scene, "b")
    assert leader.hold() is not None
    scene.lapse_lease()
    successor = other.hold()
    assert successor is not None
    leader.lost()
    assert leader.hold() is None
    other.resign()
    scene.clock.advance(leader.pause_s)
    held = leader.hold()
    assert held is not None
    assert held.fence > successor.fence


def test_who_lost_a_lease_that_nobody_took_leads_again_at_once(scene: Federation) -> None:
    leader = claim(scene, "a")
    held = leader.hold()
    assert held is not None
    scene.store.release(held)
    leader.lost()
    again = leader.hold()
    assert again is not None
    assert again.fence > held.fence


def test_a_leader_that_resigns_leaves_a_gap_of_no_more_than_a_second(scene: Federation) -> None:
    leader, standby = claim(scene, "a"), claim(scene, "b")
    assert leader.hold() is not None
    assert standby.hold() is None
    leader.resign()
    scene.clock.advance(0.9)
    assert standby.hold() is None
    scene.clock.advance(0.1)
    assert standby.hold() is not None


def test_a_lease_is_renewed_in_time_by_a_store_that_takes_long_to_answer(
    scene: Federation,
) -> None:
    """The lease began when it was asked for, not when its owner heard of it."""
    leader = claim(scene, "a")
    assert leader.hold() is not None
    asked: list[float] = []

    def slow(lease: Lease, ttl_s: float) -> bool:
        del lease, ttl_s
        asked.append(scene.clock.monotonic_s())
        scene.clock.advance(LEASE_S / 4)
        return True

    leader._store.renew = slow  # type: ignore[method-assign]
    scene.clock.advance(leader.pause_s)
    leader.hold()
    scene.clock.advance(LEASE_S / 3 - LEASE_S / 4)
    leader.hold()
    assert [later - sooner for sooner, later in pairwise(asked)] == [pytest.approx(LEASE_S / 3)]


def test_who_asks_beside_its_owner_does_not_ask_twice(scene: Federation) -> None:
    leader = claim(scene, "a")
    held = leader.hold()
    began, asked = threading.Event(), list[bool]()

    def slow(lease: Lease, ttl_s: float) -> bool:
        del lease, ttl_s
        began.set()
        asked.append(threading.Event().wait(0.05))
        return True

    leader._store.renew = slow  # type: ignore[method-assign]
    scene.clock.advance(leader.pause_s)
    beside = threading.Thread(target=leader.keep)
    beside.start()
    assert began.wait(30.0)
    assert leader.hold() == held
    beside.join()
    assert len(asked) == 1


def test_a_standby_asks_now_and_then_and_takes_over_when_the_lease_is_over(
    scene: Federation,
) -> None:
    leader, standby = claim(scene, "a"), claim(scene, "b")
    assert leader.hold() is not None
    assert standby.hold() is None
    scene.lapse_lease()
    assert standby.hold() is not None


def test_a_store_is_unheard_from_the_moment_it_was_asked(scene: Federation) -> None:
    leader = claim(scene, "a")
    assert leader.hold() is not None
    scene.clock.advance(leader.pause_s)

    def silence(lease: Lease, ttl_s: float) -> bool:
        del lease, ttl_s
        scene.clock.advance(41.0)
        raise StoreUnreachable("no answer")

    leader._store.renew = silence  # type: ignore[method-assign]
    with pytest.raises(StoreUnreachable):
        leader.hold()
    assert leader.unheard_s == 41.0


def test_a_store_that_answered_again_is_unheard_from_its_next_silence_on(scene: Federation) -> None:
    """Else the second outage of a term would end it at once."""
    leader = claim(scene, "a")
    assert leader.hold() is not None
    for _ in range(2):
        scene.clock.advance(LEASE_S)
        scene.redis.connected = False
        with pytest.raises(StoreUnreachable):
            leader.hold()
        assert leader.unheard_s == 0.0
        scene.clock.advance(5.0)
        assert leader.unheard_s == 5.0
        scene.redis.connected = True
        assert leader.hold() is not None
        assert leader.unheard_s == 0.0


def test_who_keeps_a_lease_in_the_middle_of_something_long_is_not_stopped_by_a_silent_store(
    scene: Federation,
) -> None:
    leader = claim(scene, "a")
    held = leader.hold()
    scene.clock.advance(LEASE_S)
    scene.redis.connected = False
    leader.keep()
    assert leader.unheard_s == 0.0
    scene.clock.advance(1.0)
    leader.keep()
    assert leader.unheard_s == 1.0
    scene.redis.connected = True
    assert leader.hold() == held


def test_who_did_not_hear_that_it_leads_finds_out_when_it_asks_again(scene: Federation) -> None:
    leader = claim(scene, "a")
    acquire = leader._store.acquire

    def unheard(owner: str, ttl_s: float) -> Lease | None:
        acquire(owner, ttl_s)
        raise StoreUnreachable("the reply was lost")

    leader._store.acquire = unheard  # type: ignore[method-assign]
    with pytest.raises(StoreUnreachable):
        leader.hold()
    leader._store.acquire = acquire  # type: ignore[method-assign]
    assert leader.hold() == scene.store.holder() is not None


def test_who_passes_on_lets_others_ask_first_for_as_long_as_a_lease(scene: Federation) -> None:
    leader, standby = claim(scene, "a"), claim(scene, "b")
    assert leader.hold() is not None
    leader.pass_on()
    scene.clock.advance(LEASE_S - 0.1)
    assert leader.hold() is None
    assert standby.hold() is not None
    standby.resign()
    scene.clock.advance(0.1)
    assert leader.hold() is not None


class Slow(Foreground):
    """Whatever takes long takes so long that the lease has to be renewed beside it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.times = 0
        self._clock = clock

    @contextmanager
    def repeated(self, task: Callable[[], object], every_s: float) -> Iterator[None]:
        self.times += 1
        self._clock.advance(every_s)
        task()
        yield


def test_a_lease_is_renewed_beside_the_head_an_update_and_a_version_that_take_long() -> None:
    scene = Federation(mode="fedasync")
    scene.found()
    asked: list[float] = []
    store = scene.open_store()
    renew = store.renew
    store.renew = lambda *each: asked.append(scene.clock.monotonic_s()) or renew(*each)  # type: ignore[method-assign,func-returns-value]
    background = Slow(scene.clock)
    coordinator = scene.coordinator(store=store, background=background)
    step(coordinator)
    assert (background.times, len(asked)) == (1, 1)
    scene.send(make_update())
    step(coordinator)
    assert scene.number() == 1
    assert (background.times, len(asked)) == (3, 3)
