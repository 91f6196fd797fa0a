"""Holding out by a hash: alike on any machine, and everything of one patient on one side.

N examples.
"""

import numpy as np

from latecomer.interactions import lots
from latecomer.outcomes.examples import UNKNOWN, Cohort, OutcomeSplit

#: A fifth of the groups is the test, a fifth the validation, the rest is trained on.
PARTS = 5
TEST, VALIDATION = 0, 1


def hashed_split(cohort: Cohort, *, seed: int, validation: bool = True) -> OutcomeSplit:
    """Another seed holds out other groups; without ``validation``, only the test is held out."""
    parts = {group: lots.part(f"{seed}:{group}", PARTS) for group in set(cohort.groups)}
    part = np.array([parts[group] for group in cohort.groups], np.int64).reshape(-1)  # (N,)
    labels = cohort.examples.labels
    return OutcomeSplit(
        np.where((part == VALIDATION) & validation, labels, UNKNOWN),
        np.where(part == TEST, labels, UNKNOWN),
        cohort.examples,
    )
