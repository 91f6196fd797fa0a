from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latecomer.evaluation.protocol import RankingProtocol, RankingResult
from latecomer.recipe import Social
from latecomer.recommenders.families import family
from latecomer.tensors import Array, State
from latecomer_worker.site import Site
from latecomer_worker.state import WorkerState
from latecomer_worker.trainer import Trainer
from scenes import ITEMS, checkerboard, make_recipe, make_site, noise

RECIPE = make_recipe()
FAMILY = family(RECIPE.model)
MODEL = FAMILY.initial(ITEMS, seed=1)
PLAN = RECIPE.training.model_dump()


@pytest.fixture
def state(tmp_path: Path) -> WorkerState:
    return WorkerState(tmp_path / "state.sqlite")


@pytest.fixture
def site() -> Site:
    return make_site(checkerboard(12))


def trainer_of(site: Site, state: WorkerState) -> Trainer:
    return Trainer(FAMILY, site, RankingProtocol(k=5), state)


def scores(trainer: Trainer, model: State, user: int) -> Array:
    """(I,) of one user."""
    return np.asarray(trainer.scorer(model)(np.array([user]))[0])


def test_nothing_of_a_training_is_kept_until_it_is_told_to(site: Site, state: WorkerState) -> None:
    trainer = trainer_of(site, state)
    before = scores(trainer, MODEL, 0)
    trained = trainer.train(
        MODEL, plan=PLAN, rng=np.random.default_rng(1), should_stop=lambda: False
    )
    assert trained.examples > 0
    np.testing.assert_array_equal(scores(trainer, MODEL, 0), before)
    np.testing.assert_array_equal(scores(trainer_of(site, state), MODEL, 0), before)
    np.testing.assert_array_equal(
        MODEL["item.factors"], FAMILY.initial(ITEMS, seed=1)["item.factors"]
    )

    trainer.keep(trained, state, "u1")
    after = scores(trainer, MODEL, 0)
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(scores(trainer_of(site, state), MODEL, 0), after)


def test_sums_add_up_over_the_regions_to_what_the_protocol_says(
    site: Site, state: WorkerState
) -> None:
    trainer = trainer_of(site, state)
    sums = trainer.sums(MODEL)
    assert sorted(sums) == ["black", "white"]
    assert [sums[region]["users"] for region in sorted(sums)] == [6, 6]
    means = trainer.evaluate(MODEL).means()
    for name in ("recall@5", "ndcg@5"):
        total = sum(each[name] for each in sums.values())
        assert total / 12 == pytest.approx(means[name])


def test_validation_and_test_are_judged_with_what_was_known_then(
    site: Site, state: WorkerState
) -> None:
    """A model whose bias puts one item first is right where that item is the held-out one."""
    trainer = trainer_of(site, state)
    for target, held_out in (("validation", site.split.validation), ("test", site.split.test)):
        model = {name: array.copy() for name, array in MODEL.items()}
        model["item.bias"][held_out[0]] = 1e3
        result = trainer.evaluate(model, target="test" if target == "test" else "validation")
        assert result.per_user()["ndcg@5"][0] == 1


def test_training_sees_neither_the_validation_nor_the_test_item(
    site: Site, state: WorkerState
) -> None:
    train = site.split.train
    for user in range(len(site.users)):
        own = set(train.items[train.indptr[user] : train.indptr[user + 1]])
        assert len(own) == 6
        assert not own & {site.split.validation[user], site.split.test[user]}
    assert list(site.tested) == list(range(12))


def test_friends_at_the_site_weigh_in_where_the_recipe_says_so(
    site: Site, state: WorkerState
) -> None:
    friends = replace(site, edges=np.array([[0, 2], [0, 4]]))
    model = noise(MODEL)
    alone = trainer_of(friends, state)
    social = Trainer(FAMILY, friends, RankingProtocol(k=5), state, social=Social(weight=0.5))
    mean = (scores(alone, model, 2) + scores(alone, model, 4)) / 2
    np.testing.assert_allclose(
        scores(social, model, 0),
        scores(alone, model, 0) + 0.5 * mean,
        rtol=1e-5,
    )
    np.testing.assert_array_equal(scores(social, model, 1), scores(alone, model, 1))
    # The same holds where held-out items are ranked.
    ours, theirs = (each.evaluate(model) for each in (social, alone))
    assert isinstance(ours, RankingResult)
    assert isinstance(theirs, RankingResult)
    assert ours.rank[1] == theirs.rank[1]
    assert not np.array_equal(ours.rank, theirs.rank)


def test_of_who_left_a_site_no_vector_stays_once_an_update_is_made(
    site: Site, state: WorkerState
) -> None:
    vectors = FAMILY.initial_private(2)
    state.private.save(("left", site.users[0]), vectors)
    trainer = trainer_of(site, state)
    trained = trainer.train(
        MODEL, plan=PLAN, rng=np.random.default_rng(1), should_stop=lambda: False
    )
    assert "left" in state.private.users()
    trainer.keep(trained, state, "u1")
    assert state.private.users() == set(site.users)


def test_an_update_that_adds_nothing_up_is_of_whoever_has_something_to_train_on(
    site: Site, state: WorkerState
) -> None:
    nobody = np.arange(12) < 5
    some = replace(site, split=site.split.without(nobody))
    trainer = trainer_of(some, state)
    trained = trainer.train(
        MODEL, plan=PLAN, rng=np.random.default_rng(1), should_stop=lambda: False
    )
    assert trainer.people(trained) == 7
