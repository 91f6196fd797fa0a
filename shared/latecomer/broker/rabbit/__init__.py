"""RabbitMQ behind the broker port; ``link`` and ``amqp`` alone import pika."""

from latecomer.broker.rabbit.broker import RabbitBroker

__all__ = ["RabbitBroker"]
