"""Which items compete with a held-out item: never what the user already knows.

B users of a batch, U users, I items.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from latecomer.errors import BadData
from latecomer.evaluation.ranking import Ids, Mask
from latecomer.interactions.negatives import of_users


class Known(Protocol):
    """What each user was trained on, as rows of a sparse matrix.

    User u knows ``items[indptr[u] : indptr[u + 1]]``, in any order; twice is as good as once.
    """

    @property
    def indptr(self) -> npt.NDArray[np.int64]:
        """(U + 1,) where each user's items begin; the last is len(items)."""
        ...

    @property
    def items(self) -> npt.NDArray[np.int64]:
        """The items of user 0, then those of user 1, and so on."""
        ...


def known_mask(known: Known, users: Ids, n_items: int) -> Mask:
    """True where a user knows an item.

    Args:
        known: The histories of all users.
        users: (B,) rows of ``known``.
        n_items: I.

    Returns:
        (B, I).

    Raises:
        BadData: A user knows an item that the catalogue does not have.
    """
    places, rows = of_users(known.indptr, users)
    items = known.items[places]
    check_items(items, n_items)
    mask = np.zeros((len(users), n_items), np.bool_)
    mask[rows, items] = True
    return mask


def check_items(items: Ids, n_items: int) -> None:
    """Pass if every item is one of the ``n_items`` that are scored.

    Raises:
        BadData: Names the first item that is not.
    """
    outside = items[(items < 0) | (items >= n_items)]
    if len(outside):
        raise BadData(f"item {outside[0]} is not among the {n_items} items that are scored")


def check_unseen(known: Mask, users: Ids, positive: Ids) -> None:
    """Pass if no user knows its held-out item: then a split leaked, and any result would flatter.

    Args:
        known: (B, I).
        users: (B,) for the message.
        positive: (B,) held-out items.

    Raises:
        BadData: Names the first user who does.
    """
    seen = np.flatnonzero(known[np.arange(len(users)), positive])
    if len(seen):
        raise BadData(
            f"user {users[seen[0]]} has its held-out item {positive[seen[0]]} in its history too",
            hint="keep the held-out items, repeats included, out of what is trained on",
        )


def all_but_sampled(known: Mask, users: Ids, positive: Ids, n_negatives: int, seed: int) -> Mask:
    """Exclude all but the positive and ``n_negatives`` items that the user does not know.

    The negatives are distinct, equally likely, never the positive, and depend on nothing but the
    seed, the user's number and the items left to draw from: batches do not matter.

    Args:
        known: (B, I).
        users: (B,) each seeds its own draw.
        positive: (B,) held-out items.
        n_negatives: How many items compete with the positive.
        seed: Not negative.

    Returns:
        (B, I), true where an item does not compete.

    Raises:
        BadData: A user does not leave that many items; among fewer, ranks would mean less.
    """
    excluded = np.ones_like(known)
    for row, user in enumerate(users):
        unknown = np.flatnonzero(~known[row])
        negatives = unknown[unknown != positive[row]]
        if len(negatives) < n_negatives:
            raise BadData(
                f"user {user} leaves {len(negatives)} items of {n_negatives} to draw as negatives",
                hint="rank all items instead: candidates 'full'",
            )
        # Single-user devices are all row 0: what else is theirs tells them apart.
        draw = np.random.default_rng((seed, int(user), int(positive[row]), len(negatives)))
        excluded[row, draw.choice(negatives, n_negatives, replace=False, shuffle=False)] = False
        excluded[row, positive[row]] = False
    return excluded


def all_but_given(known: Mask, positive: Ids, given: Ids) -> Mask:
    """Exclude all but the positive and the ``given`` negatives that the user does not know.

    Published negatives may hold items that the user knows, or the positive: they do not compete.

    Args:
        known: (B, I).
        positive: (B,) held-out items.
        given: (B, C) items of each user, -1 where there are fewer.

    Returns:
        (B, I), true where an item does not compete.

    Raises:
        BadData: A given item is not scored, or nothing competes: everybody would be first.
    """
    row, column = np.nonzero(given >= 0)
    items = given[row, column]
    check_items(items, known.shape[1])
    excluded = np.ones_like(known)
    excluded[row, items] = known[row, items]
    alone = np.flatnonzero(excluded.all(axis=1))
    if len(alone):
        raise BadData(
            f"nothing competes with held-out item {positive[alone[0]]}",
            hint="every user needs published negatives that he does not know",
        )
    excluded[np.arange(len(positive)), positive] = False
    return excluded
