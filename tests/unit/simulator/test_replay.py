"""A clean process computes from the ledger what the leader computed among crashes, bit for bit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from latecomer.store.port import Manifest
from latecomer.tensors import Array
from latecomer_simulator import faults
from latecomer_simulator.evidence import Evidence
from latecomer_simulator.replay import replay


def replayed(evidence: Evidence, manifests: Sequence[Manifest]) -> dict[str, Array]:
    first = evidence.lineages[0].first
    return replay(evidence.recipe, first.model, first.optimizer, manifests, evidence.updates)


def versions(evidence: Evidence) -> tuple[Manifest, ...]:
    return evidence.lineages[0].manifests[1:]


def bits(model: dict[str, Array]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in model.items()}


def test_a_run_replays_to_its_model_bit_for_bit(honest: Evidence) -> None:
    assert bits(replayed(honest, versions(honest))) == bits(honest.lineages[0].last.model)


def test_a_run_whose_store_was_flushed_replays_in_both_epochs() -> None:
    evidence = faults.run(2)
    assert len(evidence.lineages) == 2
    assert sum(len(each.manifests) for each in evidence.lineages) > 20
    for lineage in evidence.lineages:
        model = replay(
            evidence.recipe,
            lineage.first.model,
            lineage.first.optimizer,
            lineage.manifests[1:],
            evidence.updates,
        )
        assert bits(model) == bits(lineage.last.model)


def test_a_replay_leaves_what_it_starts_from_alone(honest: Evidence) -> None:
    before = bits(honest.lineages[0].first.model)
    replayed(honest, versions(honest))
    assert bits(honest.lineages[0].first.model) == before


def test_no_version_after_the_first_one_is_the_first_one(honest: Evidence) -> None:
    assert bits(replayed(honest, ())) == bits(honest.lineages[0].first.model)


def test_folded_in_another_order_the_marks_are_the_same_and_the_floats_are_not(
    honest: Evidence,
) -> None:
    """Same updates, same weights: nothing but the order within each version, one by one."""
    differ = 0
    for version in versions(honest):
        turned = replayed(honest, [replace(version, folds=version.folds[::-1])])
        straight = replayed(honest, [version])
        assert np.array_equal(turned["cells"], straight["cells"])
        assert np.allclose(turned["dense"], straight["dense"], atol=1e-5)
        differ += int((turned["dense"] != straight["dense"]).any())
    assert differ > 0


def test_other_weights_give_another_model(honest: Evidence) -> None:
    evened = [
        replace(each, folds=tuple(replace(fold, weight=1.0) for fold in each.folds))
        for each in versions(honest)
    ]
    other = replayed(honest, evened)
    assert not np.allclose(other["dense"], honest.lineages[0].last.model["dense"])


def test_each_version_is_divided_by_what_it_says_itself(honest: Evidence) -> None:
    halved = [replace(each, divisor=2 * each.divisor) for each in versions(honest)]
    other, last = replayed(honest, halved), honest.lineages[0].last.model
    assert np.allclose(other["dense"], last["dense"] / 2, atol=1e-5)
    assert np.array_equal(other["cells"], last["cells"])


def test_a_version_that_names_what_nobody_sent_cannot_be_replayed(honest: Evidence) -> None:
    first, *rest = versions(honest)
    forged = replace(first.folds[0], update_id="w0:forged:1")
    manifests = [replace(first, folds=(forged, *first.folds[1:])), *rest]
    with pytest.raises(KeyError, match="w0:forged:1"):
        replayed(honest, manifests)
