"""The sequence model: what it may look at, and what it must not."""

import numpy as np
import pytest
import torch

from latecomer.errors import BadConfiguration
from latecomer.interactions import sequences
from latecomer.recommenders import sequential, transformer
from latecomer.recommenders.descent import tensor
from latecomer.recommenders.descent_settings import SequentialModel
from latecomer.recommenders.sequential import Sequential
from latecomer.recommenders.settings import checked
from latecomer.recommenders.transformer import Dropout
from latecomer.tensors import Array
from unit.latecomer.recommenders.families_under_test import history

SETTINGS = SequentialModel(dimension=8, blocks=2, heads=2, length=4, initial_scale=1.0)
ITEMS = 10


def scores(*baskets: list[int]) -> Array:
    family = Sequential(SETTINGS)
    model = family.initial(ITEMS, seed=1)
    return np.asarray(family.scorer(model, {}, history(list(baskets)))(np.array([0]))[0])


def states(*baskets: list[int]) -> Array:
    """(n, D) after each of n baskets, all counted from the end of the longest."""
    model = Sequential(SETTINGS).initial(ITEMS, seed=1)
    tensors = {name: tensor(array) for name, array in model.items()}
    batch = sequences.everything(history(list(baskets)), np.array([0]), SETTINGS.length)
    found = sequential.encoded(SETTINGS, tensors, batch)[0, : len(baskets)]
    return np.asarray(found.numpy())


def test_a_place_does_not_see_what_comes_after_it() -> None:
    one, other = states([0], [1], [2], [3]), states([0], [1], [4, 5], [6])
    assert np.allclose(one[:2], other[:2], atol=1e-6)
    assert not np.allclose(one[2], other[2], atol=1e-2)


def test_the_order_of_baskets_matters_and_that_of_a_basket_does_not() -> None:
    assert np.allclose(scores([0, 1], [2]), scores([1, 0], [2]), atol=1e-6)
    assert not np.allclose(scores([0], [1], [2]), scores([1], [0], [2]), atol=1e-2)


def test_only_the_last_baskets_count() -> None:
    assert np.array_equal(scores([9], [0], [1], [2], [3]), scores([0], [1], [2], [3]))
    assert not np.allclose(scores([9], [1], [2], [3]), scores([0], [1], [2], [3]), atol=1e-2)


def test_a_short_history_stands_where_the_end_of_a_long_one_stands() -> None:
    """The place of a basket is its distance from the end, which is what there is to score from."""
    model = Sequential(SETTINGS).initial(ITEMS, seed=1)
    model[sequential.PLACE][0, :4] += 5.0
    score = Sequential(SETTINGS).scorer(model, {}, history([[0], [1]], [[2], [0], [1], [3]]))
    plain = Sequential(SETTINGS).initial(ITEMS, seed=1)
    before = Sequential(SETTINGS).scorer(plain, {}, history([[0], [1]], [[2], [0], [1], [3]]))
    users = np.arange(2)
    assert np.array_equal(score(users)[0], before(users)[0])
    assert not np.allclose(score(users)[1], before(users)[1], atol=1e-2)


def test_a_transformer_is_the_one_that_torch_has() -> None:
    """The same weights in torch's own pre-norm encoder layer give the same states."""
    rng = np.random.default_rng(0)
    weights = {name: tensor(each) for name, each in transformer.initial(1, 8, rng).items()}
    layer = torch.nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    first, second = weights["block.0.network.input"], weights["block.0.network.output"]
    parts = {
        "self_attn.in_proj_weight": weights["block.0.attention.input"],
        "self_attn.in_proj_bias": torch.zeros(24),
        "self_attn.out_proj.weight": weights["block.0.attention.output"],
        "self_attn.out_proj.bias": torch.zeros(8),
        "linear1.weight": first[:, :-1],
        "linear1.bias": first[:, -1],
        "linear2.weight": second[:, :-1],
        "linear2.bias": second[:, -1],
        **{f"norm{n}.weight": torch.ones(8) for n in (1, 2)},
        **{f"norm{n}.bias": torch.zeros(8) for n in (1, 2)},
    }
    layer.load_state_dict(parts)
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5)
    expected = torch.nn.functional.layer_norm(layer(x, src_mask=mask, is_causal=True), (8,))
    found = transformer.forward(weights, x, blocks=1, heads=2, dropout=Dropout(0.0, seed=0))
    assert torch.allclose(found, expected, atol=1e-5)


def test_dropout_keeps_the_mean_and_follows_from_its_seed() -> None:
    ones = torch.ones(100, 100)
    dropped = Dropout(0.25, seed=3)(ones)
    assert torch.equal(dropped, Dropout(0.25, seed=3)(ones))
    assert np.unique(dropped.numpy()).tolist() == pytest.approx([0.0, 4 / 3])
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.03)


def test_heads_that_do_not_share_the_width_are_refused() -> None:
    with pytest.raises(BadConfiguration, match="dimension must be a multiple of heads, 3"):
        checked(SequentialModel, {"dimension": 64, "heads": 3})


def test_the_place_that_is_scored_from_is_one_that_was_learned() -> None:
    family = Sequential(SETTINGS)
    model = family.initial(ITEMS, seed=1)
    trained = family.train(
        model,
        {},
        history(*([[user % 5], [5 + user % 5], [user % 3]] for user in range(8))),
        plan={"passes": 3, "negatives": ITEMS},
        rng=np.random.default_rng(1),
        should_stop=lambda: False,
    )
    moved = (trained.model[sequential.PLACE] != model[sequential.PLACE]).any(axis=1)
    assert moved.tolist() == [False, False, True, True]


def test_a_training_sequence_is_all_but_its_last_group() -> None:
    whole = sequences.everything(history([[0], [1, 2], [3]], [[4]]), np.array([0, 1]), 4)
    shorter = whole.without_last()
    assert shorter.lengths.tolist() == [2, 0]
    assert shorter.items.tolist() == [0, 1, 2]
    assert shorter.offsets.tolist() == [0, 1]
