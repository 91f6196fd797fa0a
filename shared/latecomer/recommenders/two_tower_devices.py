"""Devices of one user each that train the same version of ``two_tower``, many at once.

The law: every device gets what ``TwoTower.train`` would give it alone, from the same generator, up
to the order of float32 sums. Each has a block of its own of the rows that its training reads,
padded to the longest of its group; a group's losses are added up, so that one backward pass gives
every block its own gradient. (Rows that are never read have none, and do not move under Adam or
SGD. Decoupled decay would move them all, and is refused.)

N devices of a group, P rows of a block, D dimension, T targets.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, softplus

from latecomer.errors import BadConfiguration
from latecomer.interactions.baskets import Baskets, Contexts, Targets
from latecomer.interactions.negatives import candidates, log_inclusion, mask, shares
from latecomer.interactions.splits import History
from latecomer.recommenders.descent import MASKED, TINY, adagrad_step, optimizer, tensor
from latecomer.recommenders.descent_settings import TwoTowerModel, TwoTowerTraining
from latecomer.recommenders.port import Plan
from latecomer.recommenders.settings import checked
from latecomer.recommenders.two_tower import BIAS, FACTORS, SQUARES, VECTOR
from latecomer.tensors import Array, State, TensorDelta

Ids = npt.NDArray[np.int64]

#: Devices that are computed together. Measured: 16 blocks still fit into a processor's cache, and
#: of fewer each call does too little.
GROUP = 16

#: A device's only user.
OWNER = np.zeros(1, np.int64)


@dataclass(frozen=True)
class Learned:
    """What one device made of the version: see ``port.Trained``; only what changed of the model."""

    delta: dict[str, TensorDelta]
    private: dict[str, Array]
    examples: int
    steps: int
    loss: float


@dataclass(frozen=True)
class _Drawn:
    """A device's part before anything is computed: everything random of all its steps.

    Attributes:
        device: Its place.
        rows: (P,) items that its steps read, sorted.
        known: (P,) whether it has them in train.
        steps: Of each, context, targets, candidates, and their log-inclusion.
    """

    device: int
    rows: Ids
    known: npt.NDArray[np.bool_]
    steps: tuple[tuple[Contexts, Targets, Ids, npt.NDArray[np.float32]], ...]


def train_devices(
    settings: TwoTowerModel,
    model: State,
    private: Mapping[str, Array],
    history: History,
    *,
    plan: Plan,
    rngs: Sequence[np.random.Generator],
) -> list[Learned]:
    """Train each user of ``history`` as a device of its own, with the generator of its place.

    Raises:
        BadConfiguration: As ``TwoTower.train``, and where weights decay.
    """
    training = checked(TwoTowerTraining, plan)
    if training.optimizer == "adamw" and training.weight_decay:
        raise BadConfiguration("training.weight_decay moves rows that a device does not hold")
    items = len(model[BIAS])
    drawn = [
        _drawn(settings, training, device, history.of_user(device), items, rng)
        for device, rng in enumerate(rngs)
    ]
    learned: dict[int, Learned] = {}
    for group in _groups(drawn):
        run = _Group(settings, training, model, private, group)
        learned.update(run.learned())
    return [learned[device] for device in range(len(rngs))]


def _drawn(
    settings: TwoTowerModel,
    training: TwoTowerTraining,
    device: int,
    history: History,
    items: int,
    rng: np.random.Generator,
) -> _Drawn:
    baskets = Baskets(history, settings.decay)
    share = shares(history, items)
    steps = []
    for _ in range(training.passes):
        for contexts, targets in baskets.batches(
            contexts=training.contexts_per_batch, targets=training.targets_per_context, rng=rng
        ):
            offered = candidates(targets.item, items, training.negatives, rng)
            inclusion = log_inclusion(
                share,
                negatives=training.negatives,
                targets=len(targets.item),
                contexts=len(contexts.users),
            )
            steps.append((contexts, targets, offered, inclusion[offered]))
    read = [part for step in steps for part in (step[0].items, step[1].item, step[2])]
    rows = np.unique(np.concatenate(read)) if read else np.zeros(0, np.int64)
    return _Drawn(device, rows, mask(history, OWNER, items)[0, rows], tuple(steps))


def _groups(drawn: Sequence[_Drawn]) -> Iterator[list[_Drawn]]:
    """Devices of as many steps and about as long blocks, so that little is padding."""
    ordered = sorted(drawn, key=lambda each: (len(each.steps), len(each.rows), each.device))
    group: list[_Drawn] = []
    for each in ordered:
        if group and (len(group) == GROUP or len(each.steps) != len(group[0].steps)):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


@dataclass(frozen=True)
class _Step:
    """One step of a whole group, padded; a padded target is the first one, and weighs nothing."""

    weights: Tensor  # (N, P) of the context's items
    totals: Tensor  # (N,)
    place: Tensor  # (N, T)
    own_weight: Tensor  # (N, T)
    part: Tensor  # (N, T) 1 / number of the device's targets
    masked: Tensor  # (N, T, P)
    offered: Tensor  # (N, P)
    inclusion: Tensor  # (N, P)


class _Group:
    """Devices that step together."""

    def __init__(
        self,
        settings: TwoTowerModel,
        training: TwoTowerTraining,
        model: State,
        private: Mapping[str, Array],
        group: list[_Drawn],
    ) -> None:
        self._settings, self._training = settings, training
        self._group = group
        devices = np.array([each.device for each in group])
        self._rows = np.zeros((len(group), max(len(each.rows) for each in group)), np.int64)
        for place, each in enumerate(group):
            self._rows[place, : len(each.rows)] = each.rows
        self._base = {name: model[name][self._rows] for name in (FACTORS, BIAS)}
        self._factors = tensor(self._base[FACTORS].copy()).requires_grad_()  # (N, P, D)
        self._bias = tensor(self._base[BIAS].copy()).requires_grad_()  # (N, P, 1)
        self._vectors = tensor(private[VECTOR][devices])  # (N, D)
        self._squares = tensor(private[SQUARES][devices])  # (N, 1)
        self._optimizer = optimizer(
            training.optimizer,
            [self._factors, self._bias],
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
        )

    def learned(self) -> Iterator[tuple[int, Learned]]:
        """Take all steps; each device with what it learned."""
        losses = [self._stepped(number) for number in range(len(self._group[0].steps))]
        mean = np.mean(losses, axis=0) if losses else np.full(len(self._group), math.nan)
        after = {FACTORS: self._factors.detach().numpy(), BIAS: self._bias.detach().numpy()}
        for place, each in enumerate(self._group):
            private = {
                VECTOR: self._vectors[place : place + 1].numpy(),
                SQUARES: self._squares[place : place + 1].numpy(),
            }
            examples = sum(len(targets.item) for _, targets, _, _ in each.steps)
            delta = self._delta(place, each, after)
            yield (
                each.device,
                Learned(delta, private, examples, len(each.steps), float(mean[place])),
            )

    def _delta(
        self, place: int, each: _Drawn, after: Mapping[str, Array]
    ) -> dict[str, TensorDelta]:
        delta = {}
        for name, base in self._base.items():
            own = slice(0, len(each.rows))
            change = after[name][place, own] - base[place, own]
            moved = np.flatnonzero(change.any(axis=1))
            if len(moved):
                delta[name] = TensorDelta(change[moved], each.rows[moved].astype(np.uint32))
        return delta

    def _stepped(self, number: int) -> Array:
        """One optimiser step of every device; (N,) losses before it."""
        step = self._padded(number)
        vectors = self._vectors.clone().requires_grad_()
        losses = self._losses(step, vectors)  # (N,)
        self._optimizer.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        assert vectors.grad is not None, "the losses depend on the users' vectors"
        gradient = vectors.grad + self._training.private_decay * self._vectors
        rate = self._training.private_learning_rate
        self._vectors = adagrad_step(self._vectors, self._squares, gradient, learning_rate=rate)
        return np.asarray(losses.detach().numpy())

    def _losses(self, step: _Step, vectors: Tensor) -> Tensor:
        logits = self._logits(step, vectors).masked_fill(step.masked, MASKED)  # (N, T, P)
        if self._training.loss == "bpr":
            target = logits.gather(2, step.place[:, :, None])
            competes = (step.offered[:, None] & ~step.masked).scatter(
                2, step.place[:, :, None], value=False
            )
            each = (softplus(logits - target) * competes).sum(dim=2)  # (N, T)
            real = step.part > 0
            return (each * real).sum(dim=1) / (competes.sum(dim=2) * real).sum(dim=1).clamp(min=1)
        logits = logits - self._training.popularity_correction * step.inclusion[:, None]
        logits = logits.masked_fill(~step.offered[:, None], -torch.inf)
        each = cross_entropy(logits.flatten(0, 1), step.place.flatten(), reduction="none")
        return (each.view(step.place.shape) * step.part).sum(dim=1)

    def _logits(self, step: _Step, vectors: Tensor) -> Tensor:
        """As ``TwoTower``'s, over all rows of a block."""
        own = step.own_weight[:, :, None]  # (N, T, 1)
        total = torch.bmm(step.weights[:, None], self._factors)  # (N, 1, D)
        rest = step.totals[:, None, None] - own  # (N, T, 1)
        wide = step.place[:, :, None].expand(-1, -1, self._factors.shape[2])
        mean = (total - own * self._factors.gather(1, wide)) / rest.clamp(min=TINY)
        z = normalize(mean + vectors[:, None], dim=2, eps=TINY)  # (N, T, D)
        q = normalize(self._factors, dim=2, eps=TINY)  # (N, P, D)
        logits = torch.bmm(z, q.transpose(1, 2)) / self._settings.temperature
        return logits + self._bias[:, None, :, 0]  # (N, T, P)

    def _padded(self, number: int) -> _Step:
        devices, width = self._rows.shape
        steps = [each.steps[number] for each in self._group]
        most = max(len(targets.item) for _, targets, _, _ in steps)
        weights = np.zeros((devices, width), np.float32)
        place = np.zeros((devices, most), np.int64)
        own_weight = np.zeros((devices, most), np.float32)
        part = np.zeros((devices, most), np.float32)
        offered = np.zeros((devices, width), dtype=bool)
        known = np.zeros((devices, width), dtype=bool)
        inclusion = np.zeros((devices, width), np.float32)
        for n, (each, (contexts, targets, drawn, log_share)) in enumerate(
            zip(self._group, steps, strict=True)
        ):
            count = len(targets.item)
            np.add.at(weights[n], np.searchsorted(each.rows, contexts.items), contexts.weights)
            found = np.searchsorted(each.rows, targets.item)
            place[n], own_weight[n] = found[0], targets.own_weight[0]
            place[n, :count], own_weight[n, :count] = found, targets.own_weight
            part[n, :count] = 1.0 / count
            among = np.searchsorted(each.rows, drawn)
            offered[n, among], inclusion[n, among] = True, log_share
            known[n, : len(each.known)] = each.known
        masked = np.repeat(known[:, None], most, axis=1)
        np.put_along_axis(masked, place[:, :, None], values=False, axis=2)
        totals = np.array([contexts.totals[0] for contexts, _, _, _ in steps], np.float32)
        arrays: tuple[npt.NDArray[Any], ...] = (
            *(weights, totals, place, own_weight, part, masked, offered, inclusion),
        )
        return _Step(*map(tensor, arrays))
