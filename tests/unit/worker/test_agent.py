import struct
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from latecomer import wire
from latecomer.broker import topology
from latecomer.broker.port import Delivery, Message
from latecomer.errors import BadData, StoreUnreachable
from latecomer.events import UpdateHeader, UpdateSubmitted, Version
from latecomer.recipe import Recipe
from latecomer.recommenders.port import Trained
from latecomer.store.port import Head
from latecomer.store.redis import embedded
from latecomer.tensors import Kind, TensorDelta, applied
from latecomer.wire import payload
from latecomer_aggregator.coordinator import Coordinator
from latecomer_aggregator.rounds import announcement
from latecomer_worker import encode
from latecomer_worker.agent import VERDICTS_EVERY_S
from latecomer_worker.fetch import Snapshot
from latecomer_worker.home import SETTLED_S
from latecomer_worker.pending import Outgoing
from latecomer_worker.rounds import GRACE_S, POLL_HEAD_S
from latecomer_worker.site import Site
from scenes import (
    DAY_S,
    FEDERATION,
    ITEM_CATALOGUE,
    Device,
    Federation,
    checkerboard,
    make_recipe,
    make_site,
    make_update,
    step,
)


class Killed(Exception):
    """kill -9, at this line."""


class Inbox:
    """Reads what arrived for the aggregator, and leaves the queue to others in between."""

    def __init__(self, scene: Federation) -> None:
        self._login = scene.login("aggregator")

    def deliveries(self) -> list[Delivery]:
        queue = topology.updates_queue(FEDERATION)
        updates = self._login.subscribe(queue, prefetch=0)
        found = []
        while (delivery := updates.receive(0)) is not None:
            updates.ack(delivery)
            found.append(delivery)
        updates.close()
        return found

    def headers(self) -> list[UpdateHeader]:
        return [wire.open_update(each.body).header for each in self.deliveries()]


@pytest.fixture
def scene() -> Federation:
    scene = Federation(mode="fedasync")
    scene.found_items()
    return scene


@pytest.fixture
def device(scene: Federation, tmp_path: Path) -> Device:
    return Device(scene, "w1", tmp_path)


def offer(scene: Federation, seq: int) -> None:
    """Another worker's update, of which the aggregator will make a version."""
    manifest = scene.manifest()
    sent = make_update("w2", seq, base=manifest.version, layout=manifest.layout.digest, delta={})
    scene.send(sent)


def nudge(scene: Federation, coordinator: Coordinator, seq: int) -> None:
    """Another version, which is announced."""
    offer(scene, seq)
    number = scene.number()
    step(coordinator, 4)
    assert scene.number() > number


def announce(scene: Federation, head: Head | None = None) -> None:
    head = head or scene.store.head()
    assert head is not None
    scene.login("aggregator").publisher().publish(announcement(scene.recipe, head))


def opened(delivery: Delivery) -> UpdateSubmitted:
    sealed = wire.open_update(delivery.body)
    assert sealed.inline is not None
    return wire.read_update(sealed, sealed.inline, limit_bytes=10**6)


def last_version(device: Device) -> Version:
    return Version(*device.state.fact("last_round")["version"])


def private_of(device: Device) -> bytes:
    return b"".join(array.tobytes() for array in device.trainer()._private.values())


def test_a_device_takes_part_in_the_first_round_it_finds(scene: Federation, device: Device) -> None:
    inbox = Inbox(scene)
    assert device.step()
    (header,) = inbox.headers()
    head = scene.store.head()
    assert head is not None
    assert header.base == head.version
    assert (header.worker, header.update_id) == ("w1", "w1:boot1:1")
    assert header.examples > 0
    assert header.steps == 12
    assert device.state.pending.unconfirmed() == 0
    assert last_version(device) == head.version


def test_an_update_is_trained_minus_base(scene: Federation, device: Device) -> None:
    model, fresh, rng = scene.model(), device.trainer(), np.random.default_rng(1)
    rng.uniform()  # the spread, drawn before training
    plan = scene.recipe.training.model_dump()
    trained = fresh.train(model, plan=plan, rng=rng, should_stop=lambda: False)

    inbox = Inbox(scene)
    device.step()
    (delivery,) = inbox.deliveries()
    update = opened(delivery)
    layout = scene.manifest().layout
    assert update.layout == layout.digest
    assert update.examples == trained.examples
    for name, array in applied(layout, model, update.delta).items():
        np.testing.assert_allclose(array, trained.model[name], atol=1e-6)


def test_the_newest_of_three_announcements_is_trained_on_and_the_others_are_not(
    scene: Federation, device: Device
) -> None:
    coordinator = scene.coordinator()
    for seq in range(3):
        nudge(scene, coordinator, seq)
    coordinator.close()
    inbox = Inbox(scene)
    assert device.step()
    assert not device.step()
    assert [header.base.number for header in inbox.headers()] == [3]


def test_where_nothing_is_new_nothing_is_trained(scene: Federation, device: Device) -> None:
    assert device.step()
    inbox = Inbox(scene)
    inbox.deliveries()
    announce(scene)
    scene.clock.advance(POLL_HEAD_S)
    assert not device.step()
    assert not device.step()
    assert inbox.deliveries() == []


def test_an_older_round_that_comes_late_is_not_trained_on(
    scene: Federation, device: Device
) -> None:
    old = scene.store.head()
    assert old is not None
    coordinator = scene.coordinator()
    nudge(scene, coordinator, 1)
    assert device.step()
    announce(scene, old)
    assert not device.step()


def test_what_is_reported_was_measured_on_the_fetched_model_before_training(
    scene: Federation, device: Device
) -> None:
    fresh = device.trainer().sums(scene.model())
    device.step()
    (delivery,) = Inbox(scene).deliveries()
    update = opened(delivery)
    assert update.sums == fresh
    after = applied(scene.manifest().layout, scene.model(), update.delta)
    assert device.trainer().sums(after) != fresh


def test_training_goes_on_without_a_broker_and_the_update_is_sent_afterwards(
    scene: Federation, device: Device
) -> None:
    inbox = Inbox(scene)
    scene.server.stop()
    assert device.step()
    assert device.state.pending.unconfirmed() == 1
    waiting = device.state.pending.next()
    assert waiting is not None

    scene.server.start()
    scene.clock.advance(10.0)
    device.step()
    (delivery,) = inbox.deliveries()
    assert (delivery.message_id, delivery.body) == (waiting.update_id, waiting.body)
    assert device.state.pending.unconfirmed() == 0


def test_an_alarm_at_the_broker_does_not_keep_a_device_from_the_next_rounds(
    scene: Federation, device: Device
) -> None:
    """Publishers are blocked; what was confirmed before goes on becoming versions."""
    coordinator = scene.coordinator()
    for seq in range(3):
        offer(scene, seq)
        scene.server.raise_alarm()
        step(coordinator, 2)
        scene.clock.advance(POLL_HEAD_S)
        assert device.step()
        scene.server.clear_alarm()
    assert device.state.pending.unconfirmed() == 3


def test_a_device_without_a_network_trains_once_a_day_and_gets_a_verdict_for_each_update(
    tmp_path: Path,
) -> None:
    """Three days in the mountains: each of its own updates makes the next one staler."""
    scene = Federation(mode="fedasync", max_staleness=1)
    scene.found_items()
    device = Device(scene, "w1", tmp_path)
    coordinator = scene.coordinator()
    assert device.step()
    scene.redis.connected = False
    scene.server.stop()
    for _ in range(3):
        scene.clock.advance(DAY_S - 60.0)
        assert not device.step()
        scene.clock.advance(60.0)
        assert device.step()
    assert device.state.pending.unconfirmed() == 3

    scene.redis.connected = True
    scene.server.start()
    scene.clock.advance(10.0)
    device.step()
    step(coordinator, 8)
    scene.clock.advance(VERDICTS_EVERY_S)
    with capture_logs() as logs:
        device.step()
    told = [
        (each["event"], each["update_id"], each.get("reason"))
        for each in logs
        if each["event"] in {"update.folded", "update.refused"} and "staleness" not in each
    ]
    assert told == [
        ("update.folded", "w1:boot1:1", None),
        ("update.folded", "w1:boot1:2", None),
        ("update.refused", "w1:boot1:3", "too_stale"),
        ("update.refused", "w1:boot1:4", "too_stale"),
    ]


def test_where_nothing_becomes_of_an_update_it_is_tried_again_less_and_less_often(
    scene: Federation, device: Device
) -> None:
    """Somebody deleted the queue with everybody's updates in it: no version would ever come."""
    assert device.step()
    scene.server.delete(topology.updates_queue(FEDERATION))
    scene.login("operator").declare(topology.federation_topology(FEDERATION))
    patience_s = scene.recipe.aggregation.max_wait_s + GRACE_S
    trained_at = []
    for second in range(int(8 * patience_s)):
        scene.clock.advance(1.0)
        if device.step():
            trained_at.append(second + 1)
    assert trained_at == [patience_s, 3 * patience_s, 7 * patience_s]


def test_a_device_that_never_had_a_model_waits_for_the_store(
    scene: Federation, device: Device
) -> None:
    scene.redis.connected = False
    scene.clock.advance(10 * DAY_S)
    assert not device.step()
    assert len(device.slept) == 1


def test_a_restart_sends_what_the_former_process_left_and_does_not_train_it_again(
    scene: Federation, device: Device
) -> None:
    inbox = Inbox(scene)
    scene.server.stop()
    device.step()
    kept = private_of(device)
    device.restart()
    scene.server.start()
    scene.clock.advance(10.0)
    assert not device.step()
    assert [header.update_id for header in inbox.headers()] == ["w1:boot1:1"]
    assert private_of(device) == kept
    nudge(scene, scene.coordinator(), 1)
    assert device.step()
    assert device.state.pending.awaited(limit=9)[-1] == "w1:boot2:1"


def test_private_state_and_update_are_saved_together_or_not_at_all(
    scene: Federation, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained = private_of(device)
    real = device.state.remember

    def remember(name: str, value: object) -> None:
        if name == "last_round":
            raise Killed
        real(name, value)

    monkeypatch.setattr(device.state, "remember", remember)
    with pytest.raises(Killed):
        device.step()
    assert device.state.pending.unconfirmed() == 0
    assert device.state.fact("last_round") is None
    assert private_of(device) == untrained

    device.restart()
    assert device.step()
    assert private_of(device) != untrained


def test_a_missed_announcement_is_found_by_looking_at_the_head(
    scene: Federation, device: Device
) -> None:
    assert device.step()
    offer(scene, 1)
    scene.server.raise_alarm()
    step(scene.coordinator(), 2)
    scene.server.clear_alarm()
    assert scene.number() == 2
    scene.clock.advance(POLL_HEAD_S - 1)
    assert not device.step()
    scene.clock.advance(1)
    assert device.step()
    assert last_version(device).number == 2


def test_a_round_that_could_not_be_fetched_is_found_again_as_soon_as_the_store_is_back(
    scene: Federation, device: Device
) -> None:
    """The announcement was acked on receipt; nobody will repeat it."""
    assert device.step()
    nudge(scene, scene.coordinator(), 1)
    scene.redis.connected = False
    assert not device.step()
    scene.redis.connected = True
    scene.clock.advance(1.0)
    assert device.step()


def test_a_round_whose_version_expired_leads_to_the_head(scene: Federation, device: Device) -> None:
    old = scene.manifest()
    scene.coordinator()
    nudge(scene, scene.coordinator(), 1)
    embedded(scene.redis).delete(f"lc:{{{FEDERATION}}}:m:{old.version}")
    device.rounds.next(0)
    announce(scene, Head(old.version, old.digest, 0.0))
    assert device.step()
    assert last_version(device).number == 1


def test_who_trained_for_long_goes_on_with_the_head_and_not_with_what_was_announced_first(
    scene: Federation, device: Device
) -> None:
    assert device.step()
    coordinator = scene.coordinator()
    nudge(scene, coordinator, 1)
    first = scene.store.head()
    for seq in (2, 3):
        nudge(scene, coordinator, seq)
    # RabbitMQ handed this one out when the former was acked, and holds what came later.
    announce(scene, first)
    assert device.step()
    assert last_version(device).number == scene.number()


def test_a_running_device_learns_from_what_is_new_at_home(
    scene: Federation, device: Device
) -> None:
    coordinator = scene.coordinator()
    assert device.step()
    device.at_home(make_site(checkerboard(5)))
    assert not device.step()
    scene.clock.advance(SETTLED_S)
    for seq in (1, 2):
        nudge(scene, coordinator, seq)
        assert device.step()
    assert [len(each.site.users) for each in device.trainers] == [12, 5]


def test_data_that_cannot_be_used_leaves_a_device_with_what_it_read(
    scene: Federation, device: Device
) -> None:
    def half_a_file() -> None:
        raise BadData("purchases.csv has no column 'item'")

    coordinator = scene.coordinator()
    assert device.step()
    device.on_open = half_a_file
    device.at_home(make_site(checkerboard(5)))
    assert not device.step()
    scene.clock.advance(SETTLED_S)
    with capture_logs() as logs:
        for seq in (1, 2):
            nudge(scene, coordinator, seq)
            assert device.step()
    told = [each["cause"] for each in logs if each["event"] == "data.kept"]
    assert told == ["purchases.csv has no column 'item'"]
    assert [len(each.site.users) for each in device.trainers] == [12]


def test_another_epoch_forgets_private_state_and_starts_anew(
    scene: Federation, device: Device
) -> None:
    untrained = private_of(device)
    assert device.step()
    assert private_of(device) != untrained
    scene.clock.advance(POLL_HEAD_S)
    head = scene.found_items(new_epoch=True)
    started_with: list[bytes] = []
    device.on_open = lambda: started_with.append(private_of(device))
    assert device.step()
    assert started_with == [untrained]
    assert last_version(device) == head.version


def test_a_store_that_was_put_back_to_an_earlier_version_is_believed(
    scene: Federation, device: Device
) -> None:
    client, key = embedded(scene.redis), f"lc:{{{FEDERATION}}}:head"
    coordinator = scene.coordinator()
    step(coordinator, 2)
    assert device.step()
    backup: dict[Any, Any] = client.hgetall(key)
    step(coordinator, 2)
    assert device.step()
    assert last_version(device).number == 1
    client.hset(key, mapping=backup)
    scene.clock.advance(POLL_HEAD_S)
    assert device.step()
    assert last_version(device).number == 0


def test_who_waits_for_a_model_that_nobody_founded_says_so(tmp_path: Path) -> None:
    scene = Federation()
    device = Device(scene, "w1", tmp_path)
    with capture_logs() as logs:
        assert not device.step()
    (waits,) = [each for each in logs if each["event"] == "worker.waits"]
    assert waits["hint"] == "publish version 0 first: latecomer init RECIPE"


def test_a_device_that_comes_back_in_another_epoch_starts_from_no_private_state(
    scene: Federation, device: Device
) -> None:
    fresh = device.trainer().sums(scene.model())
    device.step()
    device.restart()
    scene.clock.advance(POLL_HEAD_S)
    scene.found_items(new_epoch=True)
    inbox = Inbox(scene)
    inbox.deliveries()
    assert device.step()
    (header,) = inbox.headers()
    assert header.sums == fresh


def test_a_round_that_is_stopped_between_batches_is_discarded(
    scene: Federation, device: Device
) -> None:
    untrained = private_of(device)
    looks = iter([False, False] + [True] * 100)
    device.stopping = lambda: next(looks)
    inbox = Inbox(scene)
    assert not device.step()
    assert inbox.deliveries() == []
    assert device.state.pending.unconfirmed() == 0
    assert device.state.fact("last_round") is None
    assert private_of(device) == untrained


def test_a_verdict_is_told_once_with_its_reason(tmp_path: Path) -> None:
    scene = Federation(mode="fedasync", max_update_norm=1e-3)
    scene.found_items()
    device = Device(scene, "w1", tmp_path)
    coordinator = scene.coordinator()
    assert device.step()
    with capture_logs() as logs:
        for seq in range(3):
            nudge(scene, coordinator, seq)
            scene.clock.advance(VERDICTS_EVERY_S)
            assert device.step()
            assert not device.step()
    told = [
        (each["update_id"], each["reason"])
        for each in logs
        if each["event"] == "update.refused" and each["log_level"] == "warning"
    ]
    assert told == [(f"w1:boot1:{seq}", "too_large_norm") for seq in (1, 2, 3)]
    assert device.state.pending.awaited(limit=10) == ["w1:boot1:4"]


def test_who_is_told_to_stop_while_a_store_does_not_answer_asks_it_nothing_else(
    scene: Federation, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert device.step()
    stop, asked = Event(), []

    def silent(*_: object) -> None:
        asked.append("verdicts")
        stop.set()
        raise StoreUnreachable("no answer in 10 s")

    monkeypatch.setattr(scene.store, "verdicts", silent)
    monkeypatch.setattr(scene.store, "head", lambda: asked.append("head"))
    device.stopping = stop.is_set
    scene.clock.advance(VERDICTS_EVERY_S + POLL_HEAD_S)
    assert not device.step()
    assert asked == ["verdicts"]


def test_a_store_that_is_away_keeps_verdicts_for_later(scene: Federation, device: Device) -> None:
    coordinator = scene.coordinator()
    assert device.step()
    nudge(scene, coordinator, 1)
    device.step()
    awaited = device.state.pending.awaited(limit=10)
    scene.clock.advance(VERDICTS_EVERY_S)
    scene.redis.connected = False
    device.step()
    assert device.state.pending.awaited(limit=10) == awaited
    scene.redis.connected = True
    scene.clock.advance(VERDICTS_EVERY_S)
    device.step()
    assert set(device.state.pending.awaited(limit=10)) < set(awaited)


def test_an_announcement_that_is_no_round_is_passed_over(scene: Federation, device: Device) -> None:
    garbage = Message(
        topology.ROUNDS, topology.round_key(FEDERATION), b"\xff" * 9, "m", "latecomer.round.v1"
    )
    scene.login("aggregator").publisher().publish(garbage)
    with capture_logs() as logs:
        assert device.step()
    assert logs[0]["event"] == "round.undecodable"


def test_a_device_waits_for_a_random_part_of_the_spread_before_it_fetches(tmp_path: Path) -> None:
    scene = Federation(mode="fedasync", spread_s=60.0)
    scene.found_items()
    pauses = []
    for number in range(3):
        device = Device(scene, f"w{number}", tmp_path)
        device.agent._rng = np.random.default_rng(number)
        assert device.step()
        pauses += device.slept
    assert all(0 < pause < 60 for pause in pauses)
    assert len(set(pauses)) == 3


def test_a_site_where_nobody_can_be_trained_on_sends_nothing(
    scene: Federation, tmp_path: Path
) -> None:
    few = checkerboard(2).of_users(np.array([False, False]))
    device = Device(scene, "w1", tmp_path, site=make_site(few))
    assert not device.step()
    assert device.state.pending.unconfirmed() == 0


def test_a_site_of_more_regions_than_a_header_takes_reports_them_all_the_same(
    scene: Federation, tmp_path: Path
) -> None:
    everybody = checkerboard(40)
    site = make_site(everybody)
    site = Site(site.users, tuple(f"region-{n}" for n in range(40)), site.split, site.catalogue)
    device = Device(scene, "w1", tmp_path, site=site)
    inbox = Inbox(scene)
    assert device.step()
    (header,) = inbox.headers()
    assert sum(sums["users"] for sums in header.sums.values()) == 40


def reported(scene: Federation, **users: float) -> dict[str, float]:
    """How many users an update names by region, where a site has so many."""
    snapshot = Snapshot(scene.manifest(), scene.model(), scene.recipe.to_bytes(), b"")
    update = encode.describe(
        snapshot,
        Trained({}, {}, 1, 1, 0.0),
        federation=FEDERATION,
        worker="w1",
        update_id="w1:boot:1",
        sums={region: {"users": count} for region, count in users.items()},
        delta={},
    )
    return {region: sums["users"] for region, sums in update.sums.items()}


def test_sixteen_regions_are_named_and_of_more_the_fifteen_largest(scene: Federation) -> None:
    sixteen = {f"r{n}": float(n) for n in range(1, 17)}
    assert reported(scene, **sixteen) == sixteen
    largest = {f"r{n}": float(n) for n in range(3, 17)}
    assert reported(scene, **sixteen, small=0.0, r17=17.0) == largest | {"r17": 17.0, "other": 3.0}


@pytest.mark.parametrize("name", ["all", "other", "x" * 81])
def test_a_region_whose_name_a_report_cannot_take_is_among_the_others(
    scene: Federation, name: str
) -> None:
    kept = "x" * 80
    users = {name: 2.0, kept: 3.0, "other": 4.0}
    assert reported(scene, **users) == {kept: 3.0, "other": sum(users.values()) - 3.0}


def test_nothing_that_is_published_names_users_items_or_times(
    scene: Federation, device: Device
) -> None:
    inbox = Inbox(scene)
    device.step()
    (delivery,) = inbox.deliveries()
    body = delivery.body
    for secret in (*[f"customer-{n}" for n in range(12)], *ITEM_CATALOGUE.items):
        assert secret.encode() not in body
    for day in range(8):
        time_s = 1_600_000_000.0 + 86_400.0 * day
        for form in ("<d", ">d", "<q", ">q", "<I", ">I"):
            packed = struct.pack(form, time_s if form[1] == "d" else int(time_s))
            assert packed not in body
    sealed = wire.open_update(body)
    assert {entry.name for entry in sealed.tensors} == {"item.factors", "item.bias"}
    for array in device.trainer()._private.values():
        for vector in array:
            if len(vector) > 1 and vector.any():
                assert vector.tobytes() not in body


def test_the_version_in_the_state_is_the_one_that_was_trained_on(
    scene: Federation, device: Device
) -> None:
    coordinator = scene.coordinator()
    for seq in range(3):
        nudge(scene, coordinator, seq)
        assert device.step()
        assert last_version(device) == scene.manifest().version
        step(coordinator, 2)


def test_a_calendar_that_was_set_back_by_a_year_costs_one_round_too_many_and_no_silence(
    scene: Federation, device: Device
) -> None:
    assert device.step()
    last = device.state.fact("last_round")
    device.state.remember("last_round", last | {"trained_s": scene.clock.now_s() + 365 * DAY_S})
    assert device.step()
    assert not device.step()


def test_a_calendar_that_was_set_back_does_not_make_a_device_train_at_every_step(
    scene: Federation, device: Device
) -> None:
    assert device.step()
    later_s = scene.clock.now_s() + 3600.0
    last = device.state.fact("last_round")
    device.state.remember("last_round", last | {"trained_s": later_s})
    device.state.pending.put(Outgoing("w1:boot:9", b"", None), created_s=later_s)
    device.state.pending.confirm("w1:boot:9", now_s=later_s)
    assert [bool(device.step()) for _ in range(5)] == [True, False, False, False, False]


def test_an_update_too_large_for_any_broker_is_given_up_and_the_device_goes_on(
    scene: Federation, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "MAX_PAYLOAD_BYTES", 100)
    with capture_logs() as logs:
        assert not device.step()
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["update.dropped"]
    assert device.state.pending.unconfirmed() == 0
    assert last_version(device) == scene.manifest().version
    assert not device.step()


def test_what_waited_long_for_its_broker_is_not_trained_again_as_soon_as_it_is_sent(
    scene: Federation, device: Device
) -> None:
    scene.server.stop()
    assert device.step()
    scene.clock.advance(20 * (scene.recipe.aggregation.max_wait_s + GRACE_S))
    scene.server.start()
    assert not device.step()
    assert device.state.pending.unconfirmed() == 0
    assert not device.step()


def test_a_device_remembers_what_release_0_1_0_trained_on(
    scene: Federation, device: Device
) -> None:
    device.state.remember("last_version", scene.manifest().version)
    assert not device.step()
    nudge(scene, scene.coordinator(), 1)
    assert device.step()


def test_of_a_training_that_diverged_nothing_is_kept_or_sent(tmp_path: Path) -> None:
    body = make_recipe().model_dump(mode="json")
    body["model"] = {"family": "neural_cf", "dimension": 8}
    body["training"] = {"optimizer": "sgd", "learning_rate": 200.0, "passes": 10}
    scene = Federation(Recipe.model_validate(body))
    scene.found_items()
    device = Device(scene, "w1", tmp_path)
    before = private_of(device)
    assert not device.step()
    assert (device.state.pending.unconfirmed(), device.state.pending.awaited(limit=1)) == (0, [])
    device.restart()
    assert private_of(device) == before
    assert np.isfinite(device.trainer().private["user.vector"]).all()


@pytest.mark.parametrize("family", ["als", "sequential"])
def test_a_version_that_somebody_spoilt_ends_no_worker(tmp_path: Path, family: str) -> None:
    """Finite, and short enough to be admitted: of no use all the same."""
    body = make_recipe().model_dump(mode="json") | {"model": {"family": family}, "training": {}}
    scene = Federation(Recipe.model_validate(body))
    head = scene.found_items()
    layout = scene.manifest().layout
    rng = np.random.default_rng(1)
    spoilt = {
        spec.name: TensorDelta(
            np.full(spec.shape, 1e9, np.float32)
            if family == "als"  # of rank one, where there is nothing to solve
            else 1e9 * rng.standard_normal(spec.shape, np.float32),
            np.arange(spec.shape[0], dtype=np.uint32) if spec.kind is Kind.ROWS else None,
        )
        for spec in layout
    }
    device = Device(scene, "w1", tmp_path)
    coordinator = scene.coordinator()
    step(coordinator, 2)
    scene.send(
        *(
            make_update(f"evil{n}", base=head.version, layout=layout.digest, delta=spoilt)
            for n in range(2)
        )
    )
    step(coordinator, 4)
    assert scene.number() == 1
    with capture_logs() as logs:
        assert not device.step()
    assert {"version.unusable", "training.diverged"} & {each["event"] for each in logs}
    assert device.state.pending.unconfirmed() == 0
