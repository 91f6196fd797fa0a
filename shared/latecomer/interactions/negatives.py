"""Negatives drawn from everything not in train: the held-out item must be drawable.

Published samplers that spare the held-out item leak it: a model learns that what is never a
negative must be the answer.

U users, B users or contexts of a batch, I items, N interactions, C candidates, T targets.
"""

import numpy as np
import numpy.typing as npt

from latecomer.errors import BadData
from latecomer.interactions.splits import History

Items = npt.NDArray[np.int64]


def candidates(targets: Items, items: int, negatives: int, rng: np.random.Generator) -> Items:
    """(C,) the targets of a batch and ``negatives`` items drawn uniformly, sorted, each once.

    Who shares a batch shares candidates; what a user knows from train is masked for that user.
    """
    drawn = rng.choice(items, size=min(negatives, items), replace=False, shuffle=False)
    return np.unique(np.concatenate([targets, drawn]))


class Unseen:
    """Draws what users do not have in train, every such item equally likely.

    No draw is rejected: the r-th item that a user lacks is found among the I by one binary search,
    so who knows all items but one costs as much as who knows none.
    """

    def __init__(self, train: History, items: int) -> None:
        pairs = np.unique(train.user * items + train.items)  # (N,) in order of user, then item
        user, item = pairs // items, pairs % items
        known = np.bincount(user, minlength=len(train.indptr) - 1)
        #: (U,) where each user's items begin in ``_gaps``.
        self._starts = np.cumsum(known) - known
        #: (U,) how many items each user lacks.
        self._lacking = items - known
        self._items = items
        #: (N,) user, and how many items the user lacks below this one; never decreases.
        self._gaps = user * items + item - (np.arange(len(pairs)) - self._starts[user])

    def draw(self, users: Items, n: int, rng: np.random.Generator) -> Items:
        """(B,) users -> (B, n) items, drawn with replacement.

        Raises:
            BadData: Names the first user who has every item in train.
        """
        lacking = self._lacking[users]
        if not lacking.all():
            raise BadData(f"user {users[np.argmin(lacking)]} has every item of the catalogue")
        rank = rng.integers(0, lacking[:, None], size=(len(users), n))  # (B, n)
        keys = users[:, None] * self._items + rank
        return rank + np.searchsorted(self._gaps, keys, side="right") - self._starts[users, None]


def known(train: History, users: Items, items: int) -> npt.NDArray[np.bool_]:
    """(B,) users -> (B, I): what each has in train, and must not be told apart from a target."""
    mask = np.zeros((len(users), items), dtype=bool)
    lengths = train.lengths[users]
    rows = np.repeat(np.arange(len(users)), lengths)
    mask[rows, train.items[ranges(train.indptr[users], lengths)]] = True
    return mask


def log_inclusion(
    train: History, items: int, negatives: int, targets: int
) -> npt.NDArray[np.float32]:
    """(I,) log of the probability that an item is among a batch's candidates.

    pi_i = 1 - (1 - n / I) (1 - q_i)^T, with q_i the item's share of the training history: drawn as
    a negative or present as one of T targets. Subtracted from logits it makes a sampled softmax an
    unbiased one (Bengio and Senecal 2008; Yi et al. 2019, "Sampling-bias-corrected neural
    modeling", section 3).
    """
    counts = np.bincount(train.items, minlength=items)
    share = counts / max(1, len(train.items))
    missed = (1.0 - min(1.0, negatives / items)) * (1.0 - share) ** targets
    return np.log1p(-np.minimum(missed, 1.0 - 1e-9)).astype(np.float32)


def ranges(starts: Items, lengths: Items) -> Items:
    """Concatenation of ``start, start + 1, …`` (``length`` of them) over all pairs."""
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum()))
