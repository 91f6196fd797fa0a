"""Every exchange, queue, binding and argument, in one place.

Arguments here are part of a queue's meaning and never change for a running deployment (RabbitMQ
answers 406 to a redeclaration with other arguments). What an operator may tune (length in bytes,
message TTL) belongs into policies, see ``infra/rabbitmq``. Every key used here means the same on
RabbitMQ 3.10 and 4.x.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROUNDS = "latecomer.rounds"
UPDATES = "latecomer.updates"
DEAD = "latecomer.dead"

#: The cohort that every worker belongs to.
EVERYONE = "all"

#: A device may be away for two weeks before its (one-message) queue is forgotten.
ROUNDS_QUEUE_EXPIRES_MS = 14 * 24 * 3600 * 1000

#: What RabbitMQ 4 uses silently, and 3.10 not at all. Every lost connection counts as a delivery,
#: so it must be far above what a bad night brings; a message that took the aggregator down twenty
#: times is looked at by a person.
DELIVERY_LIMIT = 20

#: Backlog at which workers are told to keep their updates at home.
UPDATES_MAX_LENGTH = 20_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange; ``kind`` is ``topic`` or ``fanout``."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue with its immutable arguments."""

    name: str
    arguments: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages of ``exchange`` whose routing key matches ``pattern`` go to ``queue``."""

    exchange: str
    queue: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Exchanges, queues and bindings to declare together, in this order."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()


def updates_queue(federation: str) -> str:
    """The queue that a federation's aggregator consumes."""
    return f"{UPDATES}.{federation}"


def rounds_queue(worker: str) -> str:
    """The queue that one worker consumes.

    Its name bears no federation: two of them share no virtual host, or workers of the same name
    would take each other's announcements.
    """
    return f"{ROUNDS}.{worker}"


def round_key(federation: str, cohort: str = EVERYONE) -> str:
    """Routing key of a round's announcement."""
    return f"round.{federation}.{cohort}"


def update_key(federation: str, worker: str) -> str:
    """Routing key of a worker's update."""
    return f"update.{federation}.{worker}"


_ROUNDS = Exchange(ROUNDS, "topic")
_UPDATES = Exchange(UPDATES, "topic")
_DEAD = Exchange(DEAD, "fanout")


def federation_topology(federation: str) -> Topology:
    """What a federation's aggregator needs: updates come in, rounds go out, the rest is dead.

    The updates queue is a quorum queue with a single active consumer. It refuses publishes when
    full (``reject-publish``), which is also what at-least-once dead-lettering requires.
    """
    return Topology(
        exchanges=(_ROUNDS, _UPDATES, _DEAD),
        queues=(
            # Its delivery limit is a policy (infra/keys.py): as an argument, no founded federation
            # could declare it any more.
            Queue(DEAD, {"x-queue-type": "quorum"}),
            Queue(
                updates_queue(federation),
                {
                    "x-queue-type": "quorum",
                    "x-single-active-consumer": True,
                    "x-delivery-limit": DELIVERY_LIMIT,
                    "x-max-length": UPDATES_MAX_LENGTH,
                    "x-overflow": "reject-publish",
                    "x-dead-letter-exchange": DEAD,
                    "x-dead-letter-strategy": "at-least-once",
                },
            ),
        ),
        bindings=(
            Binding(DEAD, DEAD, ""),
            Binding(UPDATES, updates_queue(federation), update_key(federation, "*")),
        ),
    )


def worker_topology(federation: str, worker: str, cohort: str = EVERYONE) -> Topology:
    """What one worker needs: a queue that keeps only the newest announcement.

    A classic queue of length one that drops its head: whoever returns after a week sees the
    newest round only. Rounds for the worker's cohort and for everyone arrive in it.
    """
    queue = Queue(
        rounds_queue(worker),
        {
            "x-queue-type": "classic",
            "x-max-length": 1,
            "x-overflow": "drop-head",
            "x-expires": ROUNDS_QUEUE_EXPIRES_MS,
        },
    )
    cohorts = sorted({cohort, EVERYONE})
    return Topology(
        exchanges=(_ROUNDS, _UPDATES),
        queues=(queue,),
        bindings=tuple(
            Binding(ROUNDS, queue.name, round_key(federation, each)) for each in cohorts
        ),
    )
