"""Implicit ALS: a user's vector is solved at home, item rows move towards everybody's solution.

With X the (users, items) matrix of who has what, the objective is that of Hu et al. 2008,
"Collaborative Filtering for Implicit Feedback Datasets", as regularised by Rendle et al. 2022,
"Revisiting the Performance of iALS on Item Recommendation Benchmarks", equations 1 to 4:

    L(P, Q) = sum_{u has i} (1 - p_u.q_i)^2 + a sum_{u, i} (p_u.q_i)^2
              + l2 sum_u (n_u + a I) |p_u|^2 + l2 sum_i (n_i + a U) |q_i|^2.

Given the item table Q, which is shared, p_u is the closed form of one user alone:

    p_u = (a Q'Q + sum_i w_i q_i q_i' + l2 (sum_i w_i + a I) 1)^-1 sum_i w_i q_i,  w_i = 1,

so that nothing private has to be kept. Scores weigh a basket by how recent it is: w_i = (1 +
baskets ago)^-decay. Given the vectors, the gradient of L / 2 for q_i is, per user of a batch B,

    g_i = sum_{u in B has i} (p_u.q_i - 1) p_u / B + (a C_B + l2 (s_i + a) 1) q_i,

with C_B = P'P / B and s_i the share of B who have i. A worker steps by -rate (C + l2 1)^-1 g_i /
(s_i + a), with the *shared* C and s: Newton's step where those who have i are like everybody. As
all workers begin with one metric, the mean of their steps is the step of their mean gradient: where
they are weighed by their users (``linear``), it vanishes where training on everybody's data would
stop, and nowhere else, whether a worker has one user or a thousand, and a late gradient is that of
an older table and no more. C and s are running means.

Numpy only. U users, I items, D dimension, B users of a batch, N items of one user.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from latecomer.errors import NotFinite
from latecomer.interactions.baskets import Baskets, Contexts
from latecomer.interactions.splits import History
from latecomer.recommenders import passes
from latecomer.recommenders.port import Plan, Scorer, Trained
from latecomer.recommenders.settings import AlsModel, AlsTraining, checked
from latecomer.tensors import Array, Kind, Layout, State, TensorSpec

Ids = npt.NDArray[np.int64]

FACTORS = "item.factors"
SHARE = "item.share"
MOMENT = "user.moment"


class Als:
    """The family with its settings bound; see the module for the model."""

    def __init__(self, settings: AlsModel) -> None:
        self._settings = settings

    def layout(self, items: int) -> Layout:
        """The item table Q (I, D), the shares s (I, 1), and the users' second moment C (D, D)."""
        dimension = self._settings.dimension
        return Layout(
            (
                TensorSpec(FACTORS, Kind.ROWS, (items, dimension)),
                TensorSpec(SHARE, Kind.ROWS, (items, 1)),
                TensorSpec(MOMENT, Kind.DENSE, (dimension, dimension)),
            )
        )

    def initial(self, items: int, *, seed: int) -> dict[str, Array]:
        """Normal factors of the length that Rendle et al. start from; nobody was met yet."""
        rng = np.random.default_rng(seed)
        dimension = self._settings.dimension
        scale = np.float32(self._settings.initial_scale / math.sqrt(dimension))
        factors = rng.standard_normal((items, dimension), np.float32) * scale
        return {**self.layout(items).zeros(), FACTORS: factors}

    def initial_private(self, users: int) -> dict[str, Array]:
        """Nothing: a user's vector follows from what he did."""
        del users
        return {}

    def train(
        self,
        model: State,
        private: Mapping[str, Array],
        history: History,
        *,
        plan: Plan,
        rng: np.random.Generator,
        should_stop: Callable[[], bool],
    ) -> Trained:
        """Passes over the users in random order, one step of the item table per batch.

        Its examples are users: the gradient is per user.
        """
        del private
        training = checked(AlsTraining, plan)
        run = _Run(self._settings, training, model)
        baskets = Baskets(history, decay=0.0)
        users = np.flatnonzero(history.lengths)
        losses: list[float] = []
        examples = 0
        for batch in passes.evenly(users, training.passes, training.contexts_per_batch, rng):
            if should_stop():
                break
            losses.append(run.step(baskets.everything(batch)))
            examples += len(batch)
        loss = float(np.mean(losses)) if losses else math.nan
        return Trained(run.model, {}, examples, len(losses), loss)

    def scorer(self, model: State, private: Mapping[str, Array], history: History) -> Scorer:
        """Scores from everything in ``history``."""
        del private
        factors = model[FACTORS]
        solve = _Solver(self._settings, factors)
        baskets = Baskets(history, self._settings.decay)

        def score(users: Ids) -> Array:
            vectors = solve.vectors(baskets.everything(users))  # (B, D)
            return np.asarray(vectors @ factors.T)  # (B, I)

        return score


class _Run:
    """One local training: the tensors that change, and the step that changes them."""

    def __init__(self, settings: AlsModel, training: AlsTraining, model: State) -> None:
        self._settings = settings
        self._rate = np.float32(training.learning_rate)
        self.model = {name: model[name].copy() for name in (FACTORS, SHARE, MOMENT)}

    def step(self, contexts: Contexts) -> float:
        """One step of the item table; returns the objective per user before it."""
        factors = self.model[FACTORS]
        vectors = _Solver(self._settings, factors).vectors(contexts)  # (B, D)
        gradient, share, loss = self._gradient(contexts, vectors)
        moment = vectors.T @ vectors / np.float32(len(vectors))  # (D, D)
        if not self.model[SHARE].any():
            # Nobody was met yet: the first to be met are all there is.
            self.model[SHARE][:], self.model[MOMENT][:] = share, moment
        factors -= self._rate * self._newton(gradient)
        self.model[SHARE] += self._rate * (share - self.model[SHARE])
        self.model[MOMENT] += self._rate * (moment - self.model[MOMENT])
        return loss

    def _gradient(self, contexts: Contexts, vectors: Array) -> tuple[Array, Array, float]:
        """Per user: the gradient (I, D) for the item table, the shares (I, 1), the objective."""
        factors = self.model[FACTORS]
        a, l2 = np.float32(self._settings.unobserved), np.float32(self._settings.l2)
        users = np.float32(len(vectors))
        pull, count = np.zeros_like(factors), np.zeros((len(factors), 1), np.float32)
        loss = 0.0
        for (own, _), vector in zip(_bags(contexts), vectors, strict=True):
            residual = factors[own] @ vector - 1  # (N,)
            pull[own] += residual[:, None] * vector
            count[own] += 1
            loss += residual @ residual + l2 * (len(own) + a * len(factors)) * (vector @ vector)
        share = count / users
        everything = a * factors @ (vectors.T @ vectors)  # (I, D)
        ridge = l2 * (share + a) * factors  # (I, D)
        loss += np.vdot(everything, factors) + users * np.vdot(ridge, factors)
        return (pull + everything) / users + ridge, share, float(loss / users)

    def _newton(self, gradient: Array) -> Array:
        """(C + l2 1)^-1 g_i / (s_i + a), with C and s as they were before the batch."""
        moment, share = _definite(self.model[MOMENT]), np.maximum(self.model[SHARE], 0)
        ridge = np.float32(self._settings.l2) * np.eye(len(moment), dtype=np.float32)
        step = _solved(moment + ridge, gradient.T).T
        return np.asarray(step / (share + np.float32(self._settings.unobserved)), np.float32)


class _Solver:
    """Users' vectors in closed form, given the item table."""

    def __init__(self, settings: AlsModel, factors: Array) -> None:
        self._settings = settings
        self._factors = factors
        self._all = np.float32(settings.unobserved) * (factors.T @ factors)  # (D, D)

    def vectors(self, contexts: Contexts) -> Array:
        """(B, D), each from its own items alone."""
        found = np.zeros((len(contexts.users), self._factors.shape[1]), np.float32)
        for place, (own, weights) in enumerate(_bags(contexts)):
            found[place] = self._vector(self._factors[own], weights)
        return found

    def _vector(self, own: Array, weights: Array) -> Array:
        """(D,) from rows (N, D) and their weights (N, 1): the module's equation."""
        everything = self._settings.unobserved * len(self._factors)
        ridge = np.float32(self._settings.l2 * (float(weights.sum()) + everything))
        weighted = weights * own
        matrix = self._all + own.T @ weighted
        matrix[np.diag_indices(len(matrix))] += ridge
        return np.asarray(_solved(matrix, weighted.sum(axis=0)), np.float32)


def _solved(matrix: Array, right: Array) -> Array:
    """The solution of (D, D) x = (D, …).

    Raises:
        NotFinite: There is none that is a number: the item table is of no use.
    """
    try:
        return np.asarray(np.linalg.solve(matrix, right), np.float32)
    except np.linalg.LinAlgError as error:
        raise NotFinite(f"users' vectors cannot be solved for: {error}") from error


def _definite(moment: Array) -> Array:
    """The nearest (D, D) that can be a moment of users' vectors, whatever was sent for one.

    Of a symmetric matrix, the one without its negative eigenvalues (Higham 1988, "Computing a
    nearest symmetric positive semidefinite matrix").
    """
    symmetric = (moment + moment.T) / 2
    values, vectors = np.linalg.eigh(symmetric)
    if values[0] >= 0:
        return np.asarray(symmetric, np.float32)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T, np.float32)


def _bags(contexts: Contexts) -> Iterator[tuple[Ids, Array]]:
    """Of each context its items (N,) and their weights (N, 1)."""
    ends = np.append(contexts.offsets[1:], len(contexts.items))
    for start, end in zip(contexts.offsets, ends[: len(contexts.offsets)], strict=True):
        yield contexts.items[start:end], contexts.weights[start:end, None]
