"""Negatives drawn from everything not in train: the held-out item must be drawable.

Published samplers that spare the held-out item leak it: a model learns that what is never a
negative must be the answer.

B contexts of a batch, I items, C candidates, T targets.
"""

import numpy as np
import numpy.typing as npt

from latecomer.interactions.splits import History

Items = npt.NDArray[np.int64]


def candidates(targets: Items, items: int, negatives: int, rng: np.random.Generator) -> Items:
    """(C,) the targets of a batch and ``negatives`` items drawn uniformly, sorted, each once.

    Who shares a batch shares candidates; what a user knows from train is masked for that user.
    """
    drawn = rng.choice(items, size=min(negatives, items), replace=False, shuffle=False)
    return np.unique(np.concatenate([targets, drawn]))


def mask(train: History, users: Items, items: int) -> npt.NDArray[np.bool_]:
    """(B,) users -> (B, I): what is no negative of theirs.

    It is what each has in train, and under a leaky protocol what is held out as well: that is
    nothing to learn from.
    """
    found = np.zeros((len(users), items), dtype=bool)
    places, rows = of_users(train.indptr, users)
    found[rows, train.items[places]] = True
    if train.spared is not None:
        row, place = np.nonzero(train.spared[users] >= 0)
        found[row, train.spared[users][row, place]] = True
    return found


def shares(train: History, items: int) -> npt.NDArray[np.float64]:
    """(I,) each item's share of the training history."""
    counts = np.bincount(train.items, minlength=items)
    return np.asarray(counts / max(1, len(train.items)))


def log_inclusion(
    share: npt.NDArray[np.float64], *, negatives: int, targets: int, contexts: int
) -> npt.NDArray[np.float32]:
    """(I,) log of the probability that a context of a batch meets an item among the candidates.

    pi_i = 1 - (1 - n / I) (1 - q_i)^(T - T / B), with q_i the item's ``share`` of the training
    history: drawn as a negative, or present as one of the T targets that is none of the context's
    own, which have T / B of them each in the mean. (Its own others are masked for it.) Subtracted
    from logits it makes a sampled softmax an unbiased one (Bengio and Senecal 2008; Yi et al. 2019,
    "Sampling-bias-corrected neural modeling", section 3); a context alone needs no correction.
    """
    others = targets - targets / contexts
    missed = (1.0 - min(1.0, negatives / len(share))) * (1.0 - share) ** others
    return np.log1p(-np.minimum(missed, 1.0 - 1e-9)).astype(np.float32)


def of_users(indptr: Items, users: Items) -> tuple[Items, Items]:
    """(M,) places of all that ``users`` have, in compressed sparse rows, and who of them has it."""
    lengths = indptr[users + 1] - indptr[users]
    return ranges(indptr[users], lengths), np.repeat(np.arange(len(users)), lengths)


def ranges(starts: Items, lengths: Items) -> Items:
    """Concatenation of ``start, start + 1, …`` (``length`` of them) over all pairs."""
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum()))
