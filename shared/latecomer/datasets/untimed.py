"""What a published data set does not say: in which order; and which items are worth learning.

R rows.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

#: Of the order of interactions without times: any number would do, as long as it stays.
SEED = 20_260_101


def places(rows: int) -> list[str]:
    """A random order (R,), the same each time, to stand for times.

    What is held out is then a random item of each user, and "recent" means nothing. Files are not
    read from top to bottom instead: they are sorted by item, by rating or by what sells.
    """
    return [str(place) for place in np.random.default_rng(SEED).permutation(rows) + 1]


def widespread(pairs: Iterable[tuple[str, str]], users: int) -> list[str]:
    """The items of (user, item) ``pairs`` that at least so many different users have, by number.

    The rule looks at all rows, those that will be held out too, as published filters do.
    """
    counts = Counter(item for _, item in set(pairs))
    found = [item for item, count in counts.items() if count >= users]
    return sorted(found, key=lambda item: (len(item), item))
