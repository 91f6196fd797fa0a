"""The embedded broker: as strict as RabbitMQ 4, in this process, not durable."""

from latecomer.broker.memory.broker import MemoryBroker
from latecomer.broker.memory.server import MemoryServer

__all__ = ["MemoryBroker", "MemoryServer"]
