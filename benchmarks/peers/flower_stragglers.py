"""Flower's side of `latecomer bench stragglers`: synchronous rounds, in its own environment.

Usage: a pickled `latecomer_bench.clients.Job` on stdin; prints one JSON object: Flower's version
and, per kind of rounds, settings and run.

The rounds are Flower's: `Strategy.start`, sampling, the timeout, and the aggregation of `FedAvgM`,
which is `FedAvg` with a server's learning rate. Ours is the `Grid`, over which a strategy talks to
its nodes: here they are our devices in virtual time. Flower has no asynchronous strategy.

Two kinds of rounds: a **barrier** has Flower's own timeout of an hour, which is almost everybody's
arrival, and a **deadline** goes on after a shorter one with those who were in time. In favour of
Flower, a node that still trains for a former round is not sampled, and replies are seen at once,
not at the next poll three seconds later.
"""

import json
import logging
import math
import pickle
import random
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvgM
from flwr.supercore.task_identity import TaskIdentity

from latecomer.tensors import State
from latecomer_bench.clients import Answer, Client, Job, Judge

#: Flower's default timeout.
BARRIER_S = 3600.0

#: No run lasts so many rounds.
ROUNDS = 1_000_000

#: Where too few nodes are there, Flower looks again after this long.
WAIT_S = 1.0


@dataclass(frozen=True)
class Settings:
    """Of one run.

    Attributes:
        cohort: Devices per round.
        timeout_s: Flower's, from sending a round.
        rate: The server's learning rate.
    """

    cohort: int
    timeout_s: float
    rate: float


#: Eight settings were tried of deadlines at twenty and at forty devices at once, with seeds 11 to
#: 15, and five of a barrier at twenty, with seeds 11 and 12. These took the least time on average:
#: 1,969 s, 180 s and 99 s.
CHOSEN = (
    Settings(20, BARRIER_S, 18.0),
    Settings(20, 60.0, 18.0),
    Settings(40, 45.0, 18.0),
)
SWEEP = (
    *(Settings(20, BARRIER_S, rate) for rate in (1.0, 9.0, 27.0, 36.0)),
    *(Settings(20, 60.0, rate) for rate in (9.0, 36.0)),
    *(Settings(20, 45.0, rate) for rate in (18.0, 36.0)),
    *(Settings(20, 30.0, rate) for rate in (9.0, 18.0, 36.0)),
    *(Settings(40, 60.0, rate) for rate in (18.0, 36.0)),
    *(Settings(40, 45.0, rate) for rate in (9.0, 36.0)),
    *(Settings(40, 30.0, rate) for rate in (9.0, 18.0, 36.0)),
)


class Done(Exception):
    """The run is over; a strategy has no other way to stop early."""


class VirtualGrid(Grid):  # type: ignore[misc]
    """Nodes in virtual time: each is one of our devices, and trains when a message reaches it.

    Attributes:
        now_s: Virtual seconds since the run began.
        trained: Trainings so far, of late devices too.
        late: Of these, those that nobody waited for.
    """

    def __init__(self, clients: list[Client], cohort: int) -> None:
        self.now_s = 0.0
        self.trained = self.late = 0
        self._clients, self._cohort = clients, cohort
        self._busy_until_s = [0.0] * len(clients)

    def get_node_ids(self) -> Iterable[int]:
        """Who is online and does nothing, once they are enough for a cohort."""
        while len(there := self._there()) < self._cohort:
            self.now_s += WAIT_S
        return there

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Those who answer by the timeout, which is waited for only if somebody is late."""
        sent = list(messages)
        until_s = math.inf if timeout is None else self.now_s + timeout
        answers = [self._train(each) for each in sent]
        last_s = max((each.arrives_s for each in answers), default=self.now_s)
        self.now_s = min(last_s, until_s)
        pairs = zip(sent, answers, strict=True)
        replies = [_reply(message, each) for message, each in pairs if each.arrives_s <= until_s]
        self.late += len(sent) - len(replies)
        return replies

    def _there(self) -> list[int]:
        """Nodes that can be sampled now; Flower's numbers begin at 1."""
        return [
            number + 1
            for number, client in enumerate(self._clients)
            if client.online(self.now_s) and self._busy_until_s[number] <= self.now_s
        ]

    def _train(self, message: Message) -> Answer:
        number: int = message.metadata.dst_node_id - 1
        answer = self._clients[number].train(_state(message.content["arrays"]), self.now_s)
        self._busy_until_s[number] = answer.arrives_s
        self.trained += 1
        return answer

    def set_run(self, run: Any) -> None:
        """See `Grid`; there is none."""
        raise NotImplementedError

    @property
    def run(self) -> Any:
        """See `Grid`; there is none."""
        raise NotImplementedError

    def create_message(self, *_: Any, **__: Any) -> Message:
        """See `Grid`; strategies make messages themselves."""
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """See `Grid`; strategies send and receive in one."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """See `Grid`; strategies send and receive in one."""
        raise NotImplementedError


def run(job: Job, settings: Settings) -> dict[str, Any]:
    """One run; Flower draws whom it samples from Python's generator."""
    random.seed(job.seed)
    # Messages name the process that makes them, which Flower's launcher would have numbered.
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    clients = job.clients()
    judge = Judge(job, clients)
    grid = VirtualGrid(clients, settings.cohort)
    every = max(1, job.evaluated_every // settings.cohort)

    def evaluate(server_round: int, arrays: ArrayRecord) -> None:
        if server_round % every == 0:
            judge.look(_state(arrays), grid.now_s)
        if judge.reached_s is not None or grid.trained + settings.cohort > job.updates:
            raise Done

    with suppress(Done):
        strategy(settings).start(
            grid,
            _record(job.initial()),
            num_rounds=ROUNDS,
            timeout=settings.timeout_s,
            evaluate_fn=evaluate,
        )
    return judge.result(grid.now_s, grid.trained, refused=grid.late)


def strategy(settings: Settings) -> FedAvgM:
    """Flower takes the larger of a share and a number of nodes, hence the tiny share."""
    return FedAvgM(
        fraction_train=1e-9,
        fraction_evaluate=0.0,
        min_train_nodes=settings.cohort,
        min_available_nodes=settings.cohort,
        server_learning_rate=settings.rate,
    )


def _reply(message: Message, answer: Answer) -> Message:
    metrics = MetricRecord({"num-examples": answer.examples})
    content = RecordDict({"arrays": _record(answer.model), "metrics": metrics})
    return Message(content, reply_to=message)


def _record(state: State) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in state.items()})


def _state(record: ArrayRecord) -> State:
    return {name: array.numpy().astype("float32", copy=False) for name, array in record.items()}


def main() -> None:
    """See the module."""
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    job: Job = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    runs = [
        {
            "peer": "flower-barrier" if each.timeout_s == BARRIER_S else "flower-deadline",
            "at_once": each.cohort,
            "settings": asdict(each),
            **run(job, each),
        }
        for each in ((*CHOSEN, *SWEEP) if job.sweep else CHOSEN)
    ]
    sys.stdout.write(json.dumps({"version": version("flwr"), "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
