"""An update of which no version can be made: it alone is refused, and then all is as before."""

from collections.abc import Iterator

import numpy as np
import pytest
from structlog.testing import capture_logs

from latecomer import wire
from latecomer.broker.topology import updates_queue
from latecomer.events import UpdateSubmitted
from latecomer.store.redis import embedded
from latecomer.wire import messages
from latecomer_aggregator.coordinator import Coordinator
from latecomer_aggregator.rounds import prefetch
from scenes import FEDERATION, Federation, make_update, net, step

RATE = 1e30


@pytest.fixture
def scene() -> Iterator[Federation]:
    """Three updates make a version."""
    scene = Federation(updates_per_version=3, optimizer={"name": "sgd", "learning_rate": RATE})
    scene.found()
    with np.errstate(over="ignore"):
        yield scene


@pytest.fixture
def coordinator(scene: Federation) -> Coordinator:
    """It has just met a culprit among three, and gave all of them back."""
    coordinator = scene.coordinator()
    scene.send(culprit(), honest(1), honest(2))
    step(coordinator, 3)
    assert (scene.number(), scene.waiting()) == (0, 3)
    return coordinator


def honest(worker: int, seq: int = 1) -> UpdateSubmitted:
    return make_update(f"w{worker}", seq, delta=net(1 / RATE, 0.0))


def culprit(seq: int = 1) -> UpdateSubmitted:
    """Finite, and so is the model: what it would make of it is not."""
    return make_update("evil", seq, delta=net(1e10, 0.0))


def size_of_head(scene: Federation) -> int:
    """How many updates the head is made of."""
    return len(scene.manifest().folds)


def test_once_what_was_given_back_is_folded_versions_are_made_of_k_updates_again(
    scene: Federation, coordinator: Coordinator
) -> None:
    each_alone = prefetch(scene.recipe.aggregation)
    scene.send(*(honest(worker) for worker in range(3, each_alone + 3)))
    step(coordinator, 2 * each_alone)
    assert scene.store.totals().refused == {"unsolvable": 1}
    assert (scene.number(), size_of_head(scene)) == (each_alone, 3)
    assert scene.dead() == 1
    assert scene.unacked() == scene.waiting() == 0


def test_many_culprits_cost_the_others_one_delivery(scene: Federation) -> None:
    """Each of them for itself would cost one, and after twenty the broker buries an update."""
    aggregator = scene.coordinator()
    scene.send(*(culprit(seq) for seq in range(1, 7)), honest(1), honest(2))
    with capture_logs() as logs:
        step(aggregator, 30)
    found = [each["updates"] for each in logs if each["event"] == "version.unsolvable"]
    assert found == [3, 1, 1, 1, 1, 1, 1]
    assert scene.store.totals().refused == {"unsolvable": 6}
    assert scene.store.totals().accepted == 2


def test_who_leads_again_later_suspects_nobody(scene: Federation, coordinator: Coordinator) -> None:
    scene.send(honest(3))
    step(coordinator, 6)
    scene.lapse_lease()
    step(coordinator, 2)
    scene.send(*(honest(worker, 2) for worker in range(1, 4)))
    step(coordinator, 4)
    assert (scene.number(), size_of_head(scene)) == (4, 3)


def test_a_culprit_that_does_not_come_back_is_not_looked_for_for_ever(
    scene: Federation, coordinator: Coordinator
) -> None:
    queue = scene.login("operator").subscribe(updates_queue(FEDERATION), prefetch=1)
    found = queue.receive(0)
    assert found is not None
    queue.ack(found)
    queue.close()
    each_alone = prefetch(scene.recipe.aggregation)
    scene.send(*(honest(worker) for worker in range(3, each_alone + 4)))
    step(coordinator, 2 * each_alone)
    assert (scene.number(), size_of_head(scene)) == (each_alone + 1, 3)


def test_the_payload_of_a_culprit_is_gone_with_the_verdict_against_it(
    scene: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "MAX_INLINE_BYTES", 0)
    payload = wire.encode_update(culprit()).detached
    assert payload is not None
    scene.store.stage_payload("evil", payload)
    scene.send(culprit())
    coordinator = scene.coordinator()
    step(coordinator, 2)
    scene.clock.advance(scene.recipe.aggregation.max_wait_s)
    step(coordinator, 2)
    assert scene.store.totals().refused == {"unsolvable": 1}
    assert embedded(scene.redis).keys("lc:*:u:*") == []
