"""Whether a system's probabilities are frequencies, over the tested examples of all sites.

The error is of bins, so that it is no mean over examples: examples of all sites are pooled first,
and workers, who report sums, cannot report it.
"""

from collections.abc import Sequence

import numpy as np

from latecomer.evaluation.classification import expected_calibration_error
from latecomer.evaluation.outcomes import OutcomeResult
from latecomer.evaluation.protocol import ALL
from latecomer.evaluation.results import Result
from latecomer_worker.site import Site

NAME = "ece"


def calibration(results: Sequence[Result], sites: Sequence[Site]) -> dict[str, float]:
    """The expected calibration error per region, and over all; empty where nothing is predicted.

    Over few examples it is above 0 even of perfect probabilities, as frequencies are then rough.
    """
    shown = [each for each in results if isinstance(each, OutcomeResult)]
    if not shown or not any(len(each.users) for each in shown):
        return {}
    labels = np.concatenate([each.labels for each in shown])  # (T,)
    probability = np.concatenate([each.probability for each in shown])  # (T,)
    region = np.concatenate(
        [np.asarray(site.regions)[each.users] for site, each in zip(sites, shown, strict=True)]
    )  # (T,)
    found = {
        str(name): expected_calibration_error(labels[own], probability[own])
        for name in np.unique(region)
        for own in [region == name]
    }
    return {**found, ALL: expected_calibration_error(labels, probability)}
