"""Settings of one process: environment variables ``LATECOMER_…`` and secret files.

What a whole federation agrees on (how to train, how to aggregate) is not here but in the recipe,
which ``latecomer init`` publishes with version 0, so that leader, standby and workers never differ.
"""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from latecomer.errors import BadConfiguration

#: Where docker compose mounts secrets; a file ``latecomer_broker_password`` in it sets that value.
SECRETS_DIR = Path("/run/secrets")

#: The folder to look into instead.
SECRETS_VARIABLE = "LATECOMER_SECRETS_DIR"

#: What others read: ``latecomer evaluate``, docker-compose.yml, infra/status.sh, the tests.
OTHERS = (
    SECRETS_VARIABLE,
    "LATECOMER_DATA",
    "LATECOMER_DEVICES",
    "LATECOMER_STORE_IMAGE",
    "LATECOMER_PROMETHEUS_IMAGE",
    "LATECOMER_EXTRA_INDEX_URL",
    "LATECOMER_BROKER_PORT",
    "LATECOMER_MANAGEMENT_PORT",
    "LATECOMER_STORE_PORT",
    "LATECOMER_PROMETHEUS_PORT",
    "LATECOMER_COMMAND",
    "LATECOMER_TEST_AMQP_URLS",
    "LATECOMER_TEST_REDIS_URLS",
)


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
    given: dict[str, object] = {"_secrets_dir": _secrets_dir()}
    given |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"LATECOMER_{'_'.join(str(part) for part in each['loc']).upper()}: {each['msg']}"
            for each in error.errors(include_url=False)
        )
        raise BadConfiguration(problems, hint="see `latecomer doctor`") from error


def unknown(variables: Iterable[str]) -> dict[str, str]:
    """Which are named as ours and read by nobody, each with the nearest name that is, if any."""
    known = [*(f"LATECOMER_{name}".upper() for name in Settings.model_fields), *OTHERS]
    ours = sorted(name for name in variables if name.startswith("LATECOMER_"))
    strange = [name for name in ours if name not in known]
    return {name: next(iter(difflib.get_close_matches(name, known, n=1)), "") for name in strange}


def _secrets_dir() -> Path | None:
    """The folder with passwords in it; None where there is none, and none was asked for."""
    named = os.environ.get(SECRETS_VARIABLE)
    folder = Path(named) if named else SECRETS_DIR
    if folder.is_dir():
        return folder
    if named:
        hint = "name the folder that holds latecomer_broker_password and latecomer_store_password"
        raise BadConfiguration(f"{SECRETS_VARIABLE}: {named} is no folder", hint=hint)
    return None


def without_password(url: str) -> str:
    """``url`` as it may be shown and logged, also where it is not a URL."""
    scheme, mark, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{scheme}{mark}{user}:***@{place}" if at and colon else url
    return re.sub(r"([?&]\w*password=)[^&]+", r"\1***", shown)


def not_a_url(url: str, what: str, form: str, *, cause: str = "") -> BadConfiguration:
    """What to say instead of the parser, which may quote a password that it took for something.

    ``cause`` is what is known to quote none.
    """
    shown = f"LATECOMER_{what.upper()}_URL: {without_password(url)} is not a {what}'s URL"
    return BadConfiguration(
        f"{shown}: {cause}" if cause else shown,
        hint=f"write {form}; in a password, / # @ and : are %2F %23 %40 and %3A",
    )


def _with_login(url: str, user: str, password: SecretStr) -> str:
    """A user in ``url`` comes before ``user``, its password before ``password``."""
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    login = login or quote(user, safe="")
    if not login or ":" in login:
        return url
    secret = quote(password.get_secret_value().strip(), safe="")
    return urlunsplit(parts._replace(netloc=f"{login}:{secret}@{place}"))
