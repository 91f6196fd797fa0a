"""Broker and store by URL: what every composition root does first."""

from urllib.parse import urlsplit

from latecomer.broker.port import Broker
from latecomer.broker.rabbit import RabbitBroker
from latecomer.clock import Clock
from latecomer.config import Settings, not_a_url
from latecomer.errors import BadConfiguration
from latecomer.store import redis
from latecomer.store.port import ModelStore

_EMBEDDED = "lives inside one process: it serves `latecomer demo`, and nothing else can join it"


def broker(settings: Settings, *, client: str, confirm_timeout_s: float = 30.0) -> Broker:
    """The broker that ``LATECOMER_BROKER_URL`` names; connects when first used.

    Raises:
        BadConfiguration: The scheme is unknown, or ``memory://`` for a process of its own.
    """
    match _scheme(settings.broker_url, "broker", "amqp://host:port/vhost"):
        case "amqp" | "amqps":
            return RabbitBroker(
                settings.broker_login(),
                client_name=client,
                heartbeat_s=settings.heartbeat_s,
                confirm_timeout_s=confirm_timeout_s,
            )
        case scheme:
            raise _unknown("LATECOMER_BROKER_URL", scheme, "amqp://host:5672/vhost or amqps://…")


def store(settings: Settings, *, federation: str, client: str, clock: Clock) -> ModelStore:
    """The store that ``LATECOMER_STORE_URL`` names; connects when first used.

    Raises:
        BadConfiguration: The scheme is unknown, or ``memory://`` for a process of its own.
    """
    match _scheme(settings.store_url, "store", "redis://host:port/0"):
        case "redis" | "rediss":
            return redis.RedisStore(
                redis.connect(settings.store_login(), client_name=client),
                federation=federation,
                clock=clock,
                retention_s=settings.retention_s,
            )
        case scheme:
            raise _unknown("LATECOMER_STORE_URL", scheme, "redis://host:6379/0 or rediss://…")


def _scheme(url: str, what: str, form: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError as error:
        raise not_a_url(url, what, form) from error.with_traceback(None)


def _unknown(variable: str, scheme: str, allowed: str) -> BadConfiguration:
    if scheme == "memory":
        return BadConfiguration(f"{variable}: memory:// {_EMBEDDED}", hint=f"set it to {allowed}")
    return BadConfiguration(f"{variable}: unknown scheme {scheme!r}", hint=f"use {allowed}")
