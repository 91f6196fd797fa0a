"""When a simulated run ends, and what it came to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from latecomer.recipe import Recipe
from latecomer.store.port import Manifest
from latecomer.tensors import Array
from latecomer_simulator.profiles import Profile
from latecomer_simulator.record import Event
from latecomer_worker.trainer import Trainer

DAY_S = 86_400.0


@dataclass(frozen=True)
class Limits:
    """When a run ends: after so many finished trainings, so much virtual time, or so good a model.

    Attributes:
        updates: Client trainings; modes are compared at equal numbers of them.
        virtual_s: Longer takes no run.
        quality: On validation, by the recipe's metric; needs ``evaluate_every``.
        evaluate_every: Versions between two evaluations, and the last is evaluated anyway; 0
            evaluates none.
    """

    updates: int
    virtual_s: float = 30 * DAY_S
    quality: float | None = None
    evaluate_every: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        recipe: As it was run, mode included.
        manifest: Of the last version.
        model: Its arrays.
        history: Manifests of the versions committed, oldest first, without version 0.
        trainers: Per worker, the family over its site and private state.
        profiles: Per worker, what the device was like.
        events: What happened when; see ``record``.
        quality: (version, virtual seconds of its commit, the recipe's metric on validation) where
            evaluated.
        staleness: Folded updates by staleness.
        refused: Refused updates by reason.
        trained: Finished client trainings.
        bytes_up, bytes_down: Over all devices' links.
        virtual_s: When the last version was committed.
        reached_s: When ``Limits.quality`` was reached, None if it never was.
        cut_short: Why there were fewer trainings than asked for; empty where there were not.
    """

    recipe: Recipe
    manifest: Manifest
    model: dict[str, Array]
    history: list[Manifest]
    trainers: Mapping[str, Trainer]
    profiles: Mapping[str, Profile]
    events: list[Event]
    quality: list[tuple[int, float, float]]
    staleness: Counter[int]
    refused: Counter[str]
    trained: int
    bytes_up: int
    bytes_down: int
    virtual_s: float
    reached_s: float | None
    cut_short: str
