"""RabbitMQ behind the broker port; ``link`` and ``amqp`` alone import pika."""

from latecomer.broker.rabbit.broker import RabbitBroker
from latecomer.broker.rabbit.link import Backoff

__all__ = ["Backoff", "RabbitBroker"]
