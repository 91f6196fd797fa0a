"""What an update of each family gives away of few people: a dry run says it before anything leaves.

Nothing private is in an update as such; what was computed from it may still be all of it. See
ARCHITECTURE.md, "What an update gives away".
"""

from collections.abc import Mapping

_ROWS = "the rows that a few users touched name their items, and gradients of few can be inverted"
_GRADIENTS = "gradients of a few examples can be inverted, outcomes included"

#: By the name that a recipe gives the family.
GIVES_AWAY: Mapping[str, str] = {
    "gram": "if only one user has something new, counts of pairs tell all of his items, and so may "
    "the weights that every worker is served",
    "als": "of a single user, item.share tells all of his items, and user.moment his vector",
    "two_tower": _ROWS,
    "sequential": _ROWS,
    "neural_cf": _ROWS,
    "mlp": _GRADIENTS,
    "deepfm": _GRADIENTS,
}
