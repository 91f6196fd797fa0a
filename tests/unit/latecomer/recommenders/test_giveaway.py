"""What is said to be given away is: who reads an update of one user of ``als`` knows him."""

import numpy as np

from latecomer.recommenders.als import FACTORS, MOMENT, SHARE, Als
from latecomer.recommenders.giveaway import GIVES_AWAY
from latecomer.recommenders.settings import MODELS, AlsModel
from latecomer.tensors import Array
from unit.latecomer.recommenders.families_under_test import ITEMS, checkerboard, history

RATE = 0.25
HIS = [1, 4, 7, 10]


def learned(family: Als, base: dict[str, Array], *baskets: list[list[int]]) -> dict[str, Array]:
    known = history(*baskets) if baskets else checkerboard()
    return family.train(
        base,
        {},
        known,
        plan={"learning_rate": RATE},
        rng=np.random.default_rng(0),
        should_stop=lambda: False,
    ).model


def test_every_family_says_what_it_gives_away() -> None:
    assert GIVES_AWAY.keys() == MODELS.keys()


def test_an_update_of_one_user_of_als_is_his_items_and_his_vector() -> None:
    family = Als(AlsModel(dimension=8))
    base = learned(family, family.initial(ITEMS, seed=1))  # others were met before
    update = learned(family, base, [[item] for item in HIS])
    share = base[SHARE] + (update[SHARE] - base[SHARE]) / RATE
    assert np.flatnonzero(share[:, 0] > 0.5).tolist() == HIS

    moment = base[MOMENT] + (update[MOMENT] - base[MOMENT]) / RATE
    values, vectors = np.linalg.eigh(moment)
    guess = vectors[:, -1] * np.sqrt(values[-1])
    scores = family.scorer(base, {}, history([HIS]))(np.array([0]))[0]
    found = base[FACTORS] @ guess
    found *= np.sign(found @ scores)
    np.testing.assert_allclose(found, scores, atol=1e-5)
    assert "single user" in GIVES_AWAY["als"]
