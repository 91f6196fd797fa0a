"""What the doctor says of dead letters, to whom it may."""

import pytest

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.broker.port import Message, QueueDepth
from latecomer.broker.topology import DEAD, federation_topology
from latecomer.clock import ManualClock
from latecomer.errors import BrokerDenied, LatecomerError
from latecomer_cli.doctor import dead_letters


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(MemoryServer(ManualClock()), "operator")


def test_where_nobody_declared_a_queue_nothing_is_dead(broker: MemoryBroker) -> None:
    assert dead_letters(broker) == "there is no queue latecomer.dead yet"


def test_what_is_dead_is_counted(broker: MemoryBroker) -> None:
    broker.declare(federation_topology("shop"))
    assert dead_letters(broker) == "none"
    for number in range(2):
        broker.publisher().publish(Message(DEAD, "", b"buried", f"m{number}", "test.v1"))
    with pytest.raises(LatecomerError, match=r"^2 in latecomer\.dead$"):
        dead_letters(broker)


class Hushed(MemoryBroker):
    """A broker that tells this login nothing of its queues."""

    def depth(self, queue: str) -> QueueDepth | None:
        raise BrokerDenied(f"access to queue {queue!r} refused")


def test_who_may_not_look_has_no_problem() -> None:
    assert dead_letters(Hushed(MemoryServer(ManualClock()), "w1")) == "this login may not look"
