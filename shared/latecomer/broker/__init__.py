"""Carrying events: one port, one topology, an embedded broker and RabbitMQ."""
