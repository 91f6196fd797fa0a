"""What people nearby do, beside what a user would be recommended: any family's scores.

    score'(u) = score(u) + weight x mean over the friends f of u of score(f);

social regularisation's idea (Ma et al. 2011, "Recommender systems with social regularization",
section 4: a user is like the mean of his friends), applied to scores where they are served, so that
who knows whom never leaves the site. Users without friends there keep their scores.

    score''(u) = score'(u) + popularity x share of the site's users who have each item:

where sites are places, what many have there is near, which no model of all sites can know.

B users of a batch, F friends of theirs, I items, E edges.
"""

import numpy as np
import numpy.typing as npt

from latecomer.interactions.negatives import ranges
from latecomer.interactions.splits import History
from latecomer.recommenders.port import Scorer
from latecomer.tensors import Array

Ids = npt.NDArray[np.int64]


def smoothed(score: Scorer, edges: Ids, weight: float) -> Scorer:
    """``score`` with the friends' part added.

    Args:
        score: Of any family; called for the users of a batch and once more for their friends.
        edges: (E, 2) rows of a user and of a friend, sorted by user.
        weight: 0 is no friends at all.
    """
    if not weight or not len(edges):
        return score

    def with_friends(users: Ids) -> Array:
        starts, ends = (np.searchsorted(edges[:, 0], users, side) for side in ("left", "right"))
        counts = ends - starts  # (B,)
        if not counts.any():
            return score(users)
        friends, column = np.unique(edges[ranges(starts, counts), 1], return_inverse=True)
        share = np.zeros((len(users), len(friends)), np.float32)  # (B, F)
        row = np.repeat(np.arange(len(users)), counts)
        share[row, column] = weight / counts[row]
        return score(users) + share @ score(friends)

    return with_friends


def popular_here(score: Scorer, train: History, weight: float) -> Scorer:
    """``score`` with the part added that the site's users have in common.

    Args:
        score: Of any family that ranks items.
        train: What the site's users are trained on.
        weight: 0 is no such part.
    """
    if not weight:
        return score
    _, owned = np.unique(np.stack([train.user, train.items]), axis=1)  # each once per user

    def with_popularity(users: Ids) -> Array:
        scores = score(users)  # (B, I)
        owners = np.bincount(owned, minlength=scores.shape[1])  # (I,)
        return np.asarray(scores + owners * (weight / len(train.lengths)), np.float32)

    return with_popularity
