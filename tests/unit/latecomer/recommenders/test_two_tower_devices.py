"""Devices that are computed together learn what each would have learned alone."""

import numpy as np
import pytest

from latecomer.errors import BadConfiguration
from latecomer.interactions.splits import History
from latecomer.recommenders import two_tower_devices
from latecomer.recommenders.descent_settings import TwoTowerModel
from latecomer.recommenders.port import Plan
from latecomer.recommenders.two_tower import FACTORS, VECTOR, TwoTower
from latecomer.recommenders.two_tower_devices import train_devices

SETTINGS = TwoTowerModel(dimension=8)
ITEMS = 60


def history(users: int) -> History:
    """Of none to twenty items a user, some of them in baskets of several."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 20, users)
    lengths[:3] = (0, 1, 2)[:users]
    items = np.concatenate([rng.choice(ITEMS, length, replace=False) for length in lengths])
    days = [np.sort(rng.integers(0, 8, length)) for length in lengths]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return History(indptr, items.astype(np.int64), np.concatenate(days).astype(np.float64))


def generators(users: int) -> list[np.random.Generator]:
    return [np.random.default_rng([9, user]) for user in range(users)]


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_together_they_learn_what_each_would_learn_alone(
    loss: str, optimizer: str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_tower_devices, "GROUP", 7)
    plan: Plan = {
        "loss": loss,
        "optimizer": optimizer,
        "passes": passes,
        "negatives": 20,
        "targets_per_context": 3,
        "private_learning_rate": 0.1,
    }
    family, users, seen = TwoTower(SETTINGS), 40, history(40)
    model, private = family.initial(ITEMS, seed=1), family.initial_private(users)
    private[VECTOR] += np.random.default_rng(5).standard_normal((users, 8), np.float32)
    together = train_devices(SETTINGS, model, private, seen, plan=plan, rngs=generators(users))
    assert len(together) == users
    for user, (found, rng) in enumerate(zip(together, generators(users), strict=True)):
        alone = family.train(
            model,
            {name: array[user : user + 1] for name, array in private.items()},
            seen.of_user(user),
            plan=plan,
            rng=rng,
            should_stop=lambda: False,
        )
        delta = alone.delta(family.layout(ITEMS), model)
        assert found.delta.keys() == delta.keys()
        for name, change in delta.items():
            assert found.delta[name].rows is not None
            np.testing.assert_array_equal(found.delta[name].rows, change.rows)
            np.testing.assert_allclose(found.delta[name].values, change.values, atol=2e-5)
        for name, array in alone.private.items():
            np.testing.assert_allclose(found.private[name], array, atol=2e-5)
        assert (found.examples, found.steps) == (alone.examples, alone.steps)
        np.testing.assert_allclose(found.loss, alone.loss, rtol=1e-4)


def test_who_has_nothing_to_learn_from_changes_nothing() -> None:
    family = TwoTower(SETTINGS)
    model, private = family.initial(ITEMS, seed=1), family.initial_private(3)
    nobody, one, two = train_devices(
        SETTINGS, model, private, history(3), plan={"negatives": 5}, rngs=generators(3)
    )
    assert (nobody.delta, one.delta) == ({}, {})
    assert (nobody.steps, one.steps, two.steps) == (0, 0, 1)
    assert np.isnan(nobody.loss)


def test_training_leaves_the_version_and_the_private_state_as_they_are() -> None:
    family = TwoTower(SETTINGS)
    model, private = family.initial(ITEMS, seed=1), family.initial_private(40)
    before, own = model[FACTORS].copy(), private[VECTOR].copy()
    train_devices(SETTINGS, model, private, history(40), plan={}, rngs=generators(40))
    assert np.array_equal(model[FACTORS], before)
    assert np.array_equal(private[VECTOR], own)


def test_decay_of_rows_that_a_device_does_not_hold_is_refused() -> None:
    family = TwoTower(SETTINGS)
    with pytest.raises(BadConfiguration, match="weight_decay"):
        train_devices(
            SETTINGS,
            family.initial(ITEMS, seed=1),
            family.initial_private(1),
            history(1),
            plan={"optimizer": "adamw", "weight_decay": 0.1},
            rngs=generators(1),
        )


def test_where_all_negatives_are_known_pairwise_loss_has_nothing_to_say() -> None:
    plan: Plan = {"loss": "bpr", "negatives": 1, "passes": 5}
    family, seen = TwoTower(SETTINGS), history(40)
    model, private = family.initial(ITEMS, seed=1), family.initial_private(40)
    found = train_devices(SETTINGS, model, private, seen, plan=plan, rngs=generators(40))
    for each in found:
        assert each.steps == 0 or np.isfinite(each.loss)
        assert all(np.isfinite(change.values).all() for change in each.delta.values())
        assert all(np.isfinite(array).all() for array in each.private.values())
