"""Settings of one process: environment variables ``LATECOMER_…`` and secret files.

What a whole federation agrees on (how to train, how to aggregate) is not here but in the recipe,
which ``latecomer init`` publishes with version 0, so that leader, standby and workers never differ.
"""

import os
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from latecomer.errors import BadConfiguration

#: Where docker compose mounts secrets; a file ``latecomer_broker_password`` in it sets that value.
SECRETS_DIR = Path(os.environ.get("LATECOMER_SECRETS_DIR", "/run/secrets"))


class Settings(BaseSettings):
    """How this process reaches broker and store, and what it says about itself.

    Attributes:
        broker_url: ``amqp://host:port/vhost`` or ``amqps://…``; ``memory://`` inside one process.
        store_url: ``redis://host:port/db`` or ``rediss://…``; ``memory://`` inside one process.
        declare_topology: False where queues are declared for this login by an operator.
        state_dir: Where a worker keeps its outbox, private vectors and chunk cache.
        metrics_port: Serves ``/metrics`` and ``/healthz``; 0 for neither.
        retention_s: How long a superseded version can still be fetched; at least the longest time
            that a worker may take from an announcement to the end of its download. The store must
            hold all versions of that time.
        lease_s: A leader that is silent for this long loses the right to commit.
        outbox_max_bytes: A worker keeps at most this much for a broker that is away; the oldest
            updates go first.
        outbox_max_age_s: Updates that waited for longer are given up; the ledger remembers ids for
            14 days, and an id must not outlive that.
        alone_every_s: Without a store, a worker trains again on the version that it has.
    """

    model_config = SettingsConfigDict(
        env_prefix="LATECOMER_",
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        extra="forbid",
        frozen=True,
    )

    broker_url: str = "memory://"
    broker_user: str = ""
    broker_password: SecretStr = SecretStr("")
    store_url: str = "memory://"
    store_user: str = ""
    store_password: SecretStr = SecretStr("")
    federation: str = Field("", description="empty: the recipe's")
    declare_topology: bool = True
    state_dir: Path = Path("runs/state")
    metrics_port: int = Field(0, ge=0, le=65535)
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    heartbeat_s: int = Field(8, ge=1, le=600)
    retention_s: float = Field(1200.0, gt=0)
    lease_s: float = Field(8.0, ge=1.0, le=120.0)
    outbox_max_bytes: int = Field(256 * 1024 * 1024, ge=1024 * 1024)
    outbox_max_age_s: float = Field(7 * 24 * 3600.0, gt=0, le=13 * 24 * 3600.0)
    alone_every_s: float = Field(24 * 3600.0, gt=0)

    @property
    def quiet_level(self) -> str:
        """How much a command logs that prints a result: errors alone, unless a level is set."""
        return self.log_level if "log_level" in self.model_fields_set else "error"

    def broker_login(self) -> str:
        """The broker's URL with user and password in it."""
        return _with_login(self.broker_url, self.broker_user, self.broker_password)

    def store_login(self) -> str:
        """The store's URL with user and password in it."""
        return _with_login(self.store_url, self.store_user, self.store_password)


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, with ``overrides`` (None = not given) taking precedence.

    Raises:
        BadConfiguration: Names every variable that is out of range, at once.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"LATECOMER_{'_'.join(str(part) for part in each['loc']).upper()}: {each['msg']}"
            for each in error.errors(include_url=False)
        )
        raise BadConfiguration(problems, hint="see `latecomer doctor`") from error


def without_password(url: str) -> str:
    """``url`` as it may be shown and logged, also where it is not a URL."""
    scheme, mark, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}{mark}{user}:***@{place}" if at and colon else url


def not_a_url(url: str, what: str, form: str) -> BadConfiguration:
    """What to say instead of the parser, which may quote a password that it took for something."""
    return BadConfiguration(
        f"{without_password(url)} is not a {what}'s URL",
        hint=f"write {form}; in a password, / # @ and : are %2F %23 %40 and %3A",
    )


def _with_login(url: str, user: str, password: SecretStr) -> str:
    parts = urlsplit(url)
    if not user or parts.username:
        return url
    secret = quote(password.get_secret_value().strip(), safe="")
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{secret}@{parts.netloc}"))
