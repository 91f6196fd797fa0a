"""Ten bugs that published federated-learning systems had, each as what must hold instead."""

from typing import Any

import numpy as np
import pytest

from latecomer.events import Version
from latecomer_aggregator import staleness
from scenes import EPOCH, LAYOUT, Federation, make_update, net, step


def founded(*, model: float = 0.0, **aggregation: Any) -> Federation:
    scene = Federation(**aggregation)
    scene.found(model={each.name: np.full(each.shape, model, np.float32) for each in LAYOUT})
    return scene


def base(number: int) -> Version:
    return Version(EPOCH, number)


def test_1_a_fresh_update_weighs_one_because_it_is_weighed_before_the_version_goes_up() -> None:
    """NVFlare raised the version first and weighed every fresh update 0.5."""
    scene = founded(mode="fedasync")
    scene.send(make_update(delta=net(8.0, 8.0)))
    step(scene.coordinator())
    (fold,) = scene.manifest().folds
    assert (fold.staleness, fold.weight) == (0, 1.0)
    assert scene.model()["net"].tolist() == [8.0, 8.0]


def test_2_devices_spread_over_three_versions_take_one_step_and_not_three() -> None:
    """NVFlare averaged per version and added the averages up."""
    scene = founded(updates_per_version=15, staleness={"rule": "constant"})
    coordinator = scene.coordinator()
    for version in range(2):
        scene.send(*(make_update(f"w{n}", version, delta={}) for n in range(15)))
        step(coordinator, 15)
    assert scene.number() == 2
    scene.send(*(make_update(f"w{n}", 2, base=base(n % 3), delta=net(1.0, 1.0)) for n in range(15)))
    step(coordinator, 15)
    assert scene.number() == 3
    assert scene.model()["net"].tolist() == [1.0, 1.0]


def test_3_stale_updates_do_not_wear_out_the_weight_of_those_who_follow() -> None:
    """Plato multiplied its mixing rate itself by every discount, and learned ever less."""
    scene = founded(mode="fedasync")
    coordinator = scene.coordinator()
    for seq in range(20):
        scene.send(make_update("slow", seq, base=base(0), delta=net(0.0, 0.0)))
        step(coordinator)
    scene.send(make_update("fresh", base=base(20), delta=net(1.0, 1.0)))
    step(coordinator)
    assert scene.manifest().folds[0].weight == 1.0
    assert scene.model()["net"].tolist() == [1.0, 1.0]


def test_4_a_buffer_is_divided_by_k_and_not_by_how_many_workers_there_are() -> None:
    """APPFL scaled by the number of clients, and measured against the newest model."""
    scene = founded(updates_per_version=2, staleness={"rule": "constant"})
    coordinator = scene.coordinator()
    for worker in ("w1", "w2", "w3", "w4", "w5", "w6"):
        scene.send(make_update(worker, 1, delta=net(3.0, 3.0)))
    step(coordinator, 6)
    assert [scene.store.manifest(base(n)).divisor for n in (1, 2, 3)] == [2, 2, 2]
    # Nothing of the two versions in between is undone by updates that started from version 0.
    assert scene.model()["net"].tolist() == [9.0, 9.0]


def test_5_the_hinge_is_the_papers() -> None:
    """FedLab has 1 / (a (tau - b + 1)), FLGo 1 / (a (tau - b)), AFL-Lib 1 / (a (tau + b) + 1)."""
    papers, theirs = 1 / (10 * (5 - 4) + 1), (1 / 20, 1 / 10, 1 / 91)
    assert staleness.hinge(5, slope=10.0, grace=4) == pytest.approx(papers)
    assert papers not in theirs


def test_6_a_buffer_is_divided_by_k_once() -> None:
    """AFL-Lib divided twice, and hid it behind a server rate of 5."""
    scene = founded(updates_per_version=4)
    scene.send(*(make_update(f"w{n}", delta=net(4.0, 4.0)) for n in range(4)))
    step(scene.coordinator(), 4)
    assert scene.model()["net"].tolist() == [4.0, 4.0]


def test_7_a_version_is_the_one_before_plus_what_was_learned() -> None:
    """FedScale averaged weights, and replaced the model by what a few devices had."""
    scene = founded(model=100.0)
    scene.send(make_update("w1", delta=net(1.0, 0.0)), make_update("w2", delta=net(1.0, 2.0)))
    step(scene.coordinator(), 2)
    assert scene.model()["net"].tolist() == [101.0, 101.0]
    assert set(scene.model()["items"].ravel()) == {100.0}


@pytest.mark.parametrize("exponent", [0.1, 0.5, 1.0, 2.0])
def test_8_a_polynomial_falls_with_staleness(exponent: float) -> None:
    """FedCompass raised (tau + 1) to a itself: the sign was lost, and the stalest weighed most."""
    weights = [staleness.polynomial(tau, exponent=exponent) for tau in range(10)]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 1.0
    assert weights[-1] < 1.0


def test_9_who_learned_nothing_changes_nothing() -> None:
    """Cisco's flame treated weights as differences: an untrained model was added to the model."""
    scene = founded(model=5.0)
    scene.send(make_update("w1", delta={}), make_update("w2", delta=net(0.0, 0.0)))
    step(scene.coordinator(), 2)
    assert scene.number() == 1
    assert all((array == 5.0).all() for array in scene.model().values())


def test_10_staleness_is_counted_in_versions_whatever_anybodys_clock_says() -> None:
    """FedScale measured it by time stamps that clients sent, and that it raised itself."""
    scene = founded(updates_per_version=2, live_s=1e6)
    coordinator = scene.coordinator()
    scene.send(make_update("w1", 1), make_update("w2", 1))
    step(coordinator, 2)
    scene.clock.advance(10_000.0)
    scene.send(make_update("w1", 2, base=base(1)), make_update("w3", 1, base=base(0)))
    step(coordinator, 1)
    scene.clock.advance(20.0)
    step(coordinator, 1)
    assert [fold.staleness for fold in scene.manifest().folds] == [0, 1]
