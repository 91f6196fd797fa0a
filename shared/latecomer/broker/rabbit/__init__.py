"""RabbitMQ behind the broker port; ``link`` is the only importer of pika."""

from latecomer.broker.rabbit.broker import RabbitBroker
from latecomer.broker.rabbit.link import Backoff

__all__ = ["Backoff", "RabbitBroker"]
