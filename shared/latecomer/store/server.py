"""A Redis or Valkey server, or one inside this process: connections, scripts, and the border.

The only importer of redis and fakeredis: their exceptions end here. redis-py repeats a command
whose reply was lost, so every script may be repeated without harm.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, NoReturn, TypeVar

import fakeredis
import redis
from redis import exceptions
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

from latecomer.clock import Clock
from latecomer.config import not_a_url
from latecomer.errors import UNTRUSTED, BadConfiguration, StoreDenied, StoreUnreachable

_T = TypeVar("_T")

#: What ``connect`` and ``embedded`` return, for those who pass it on.
Client = redis.Redis

#: How long a commit waits for the server's disk before it is repeated.
FSYNC_TIMEOUT_MS = 5000

#: The server does not answer within this: it is away.
SOCKET_TIMEOUT_S = 10.0

#: Beyond this share of its memory a server has no room for another version; it may still take what
#: is small, so that nothing but commits comes to a halt.
FULL = 0.95

#: What to do about a server that cannot keep a federation.
AS_SHIPPED = "LATECOMER_STORE_URL must lead to a primary that is set as in infra/redis/redis.conf"

#: What is said where a login may not ask the server about itself.
UNASKED = "unknown: this login may not ask"

EMBEDDED = "embedded: nothing survives the end of this process"

ON_DISK = "a confirmed version is on the server's disk (WAITAOF)"
WITHOUT_BARRIER = "append-only file without WAITAOF: as safe as the server's appendfsync"
UNTRIED = "append-only file; nothing could be written to see it come to the disk"

#: What a probe is forgotten after: it is looked at at once, or never.
PROBE_S = 60

#: What to do about a server that is full.
MORE_MEMORY = (
    "more maxmemory, or a shorter LATECOMER_RETENTION_S of the aggregators; "
    "a worker that fills it: see docs/operations.md"
)

#: Each with what stands before it.
SCRIPTS = {
    "acquire": (),
    "commit": ("ledger",),
    "refuse": ("ledger",),
    "release": (),
    "renew": (),
}


def connect(url: str, *, client_name: str) -> redis.Redis:
    """A client of the server at ``url``; it connects when first used.

    A command is repeated a few times with growing, jittered pauses before it is an error.

    Raises:
        BadConfiguration: The URL is none.
    """
    try:
        client = redis.Redis.from_url(
            url,
            client_name=client_name,
            retry=_RetryUnlessDenied(ExponentialWithJitterBackoff(base=0.05, cap=1.0), 3),
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=3.0,
            health_check_interval=30,
        )
        # What a URL asks for is looked at only here, and does not connect.
        client.connection_pool.make_connection()
    except Exception as error:  # noqa: BLE001 - what takes options, of whatever kind
        cause = str(error) if isinstance(error, exceptions.RedisError) else ""
        refusal = not_a_url(url, "store", "redis://host:port/0", cause=cause)
        raise refusal from error.with_traceback(None)
    return client


def embedded(server: fakeredis.FakeServer | None = None) -> redis.Redis:
    """A client of a store inside this process, shared by all clients of one ``server``."""
    return fakeredis.FakeRedis(server=server or fakeredis.FakeServer())


def embedded_server(clock: Clock) -> fakeredis.FakeServer:
    """A server inside this process whose keys expire by ``clock``."""
    server = fakeredis.FakeServer()
    # fakeredis tells each database the machine's time before every command; ours know better.
    clocked = type(
        "ClockedDatabase",
        (type(server.dbs[0]),),
        {"time": property(lambda _: clock.now_s(), lambda _, __: None)},
    )
    server.dbs = defaultdict(lambda: clocked(server.lock))
    return server


class _LoginRefused(exceptions.NoPermissionError):
    """No user of that name and password, whatever it may do."""


class _RetryUnlessDenied(Retry):
    """A wrong password stays wrong, though redis-py counts it among lost connections.

    Nor is anything repeated inside of what is repeated already. redis-py repeats a command, its
    connecting and the ping of a new connection, each within the other: sixteen times the longest
    wait for an answer, in which nobody can be told to stop.
    """

    _repeating = threading.local()

    def call_with_retry(
        self,
        do: Callable[[], _T],
        fail: Callable[[Exception], Any] | Callable[[Exception, int], Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 - redis-py's signature
    ) -> _T:
        """As ``Retry``, but a refused login is an error at once."""

        def once() -> _T:
            try:
                return do()
            except exceptions.AuthenticationError as error:
                raise _LoginRefused(str(error)) from error

        # redis-py 6 neither passes nor takes these.
        options = {"is_retryable": is_retryable, "with_failure_count": with_failure_count}
        given: dict[str, Any] = {name: value for name, value in options.items() if value}
        if getattr(self._repeating, "now", False):
            return Retry(NoBackoff(), 0).call_with_retry(once, fail, **given)
        self._repeating.now = True
        try:
            return super().call_with_retry(once, fail, **given)
        finally:
            self._repeating.now = False


class Server:
    """A client with our scripts; every call that touches ``client`` stands inside ``border``."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self._scripts = {name: client.register_script(_source(name)) for name in SCRIPTS}

    @contextmanager
    def border(self) -> Iterator[None]:
        """Foreign exceptions end here."""
        try:
            yield
        except redis.RedisError as error:
            if isinstance(error, exceptions.ReadOnlyError):
                # Its address may lead to another server by now, which open connections never do.
                self.client.connection_pool.disconnect(inuse_connections=False)
            _translate(error, self._where())

    def texts(self, key: str) -> dict[str, str]:
        """A hash, as text."""
        with self.border():
            fields: Any = self.client.hgetall(key)
        return {text(name): text(value) for name, value in fields.items()}

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script."""
        with self.border():
            return self._scripts[script](keys=keys, args=arguments)

    def run_durably(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script and wait for the disk: only then may deliveries be acked.

        WAITAOF waits for the writes of its own connection alone. In one pipeline the two share
        one, also when the connection is lost in between: redis-py repeats both.
        """
        # redis-py's Script would ask first whether the server knows it, every time.
        command = ("EVALSHA", self._scripts[script].sha, len(keys), *keys, *arguments)
        with self.border():
            result, synced = self._in_one_go(*command)
            if isinstance(result, exceptions.NoScriptError):
                self.client.script_load(_source(script))
                result, synced = self._in_one_go(*command)
            if isinstance(result, Exception):
                raise result
        self._has_disk(synced, "the commit")
        return result

    def version(self) -> str:
        """Product and version, for people."""
        if isinstance(self.client, fakeredis.FakeRedis):
            return "embedded (fakeredis)"
        server = self._facts("server")
        if not server:
            return UNASKED
        if "valkey_version" in server:
            return f"Valkey {server['valkey_version']}"
        return f"Redis {server['redis_version']}"

    def durability(self) -> str:
        """What a confirmed commit survives, for people."""
        if isinstance(self.client, fakeredis.FakeRedis):
            return EMBEDDED
        facts = self._facts("persistence", "memory", "replication")
        if not facts:
            return UNASKED
        return _unsound(facts) or (ON_DISK if self._can_await_disk() else WITHOUT_BARRIER)

    def keeps_writes(self, probe: str) -> str:
        """As ``durability``, found out by writing the key ``probe`` where this login may.

        Raises:
            BadConfiguration: What is written does not survive.
            StoreUnreachable: It does not come to the disk, so that no commit is ever confirmed.
        """
        if isinstance(self.client, fakeredis.FakeRedis):
            return EMBEDDED
        facts = self._facts("persistence", "memory", "replication")
        if not facts:
            return UNASKED
        if words := _unsound(facts):
            raise BadConfiguration(f"the store at {self._where()}: {words}", hint=AS_SHIPPED)
        with self.border():
            written, synced = self._in_one_go("SET", probe, "", "EX", PROBE_S)
            # Whether there is room is asked by ``takes_writes``.
            if isinstance(written, exceptions.NoPermissionError | exceptions.OutOfMemoryError):
                return UNTRIED
            if isinstance(written, Exception):
                raise written
        return ON_DISK if self._has_disk(synced, "a probe") else WITHOUT_BARRIER

    def takes_writes(self) -> str:
        """How full the server is, for people.

        Raises:
            BadConfiguration: It is a replica, or forgets what was counted when it is full.
            StoreUnreachable: It is full.
        """
        if isinstance(self.client, fakeredis.FakeRedis):
            return "embedded: as much as this process may have"
        facts = self._facts("memory", "replication")
        if not facts:
            return UNASKED
        if words := _unsafe(facts):
            raise BadConfiguration(f"the store at {self._where()}: {words}", hint=AS_SHIPPED)
        used, limit = facts["used_memory"], facts["maxmemory"]
        if limit and used > FULL * limit:
            raise StoreUnreachable(
                f"the store at {self._where()} is full: it holds {_mb(used)} of {_mb(limit)} MB",
                hint=MORE_MEMORY,
            )
        return f"{_mb(used)} of {_mb(limit)} MB in use" if limit else "without maxmemory"

    def close(self) -> None:
        """Close all connections."""
        self.client.close()

    def _in_one_go(self, *command: Any) -> list[Any]:
        """What the server answered to a command that writes, and to WAITAOF behind it."""
        pipe = self.client.pipeline(transaction=False)
        pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        pipe.waitaof(1, 0, FSYNC_TIMEOUT_MS)
        return pipe.execute(raise_on_error=False)

    def _has_disk(self, synced: Any, what: str) -> bool:
        """Whether ``what`` is on the disk by WAITAOF's answer; no, where there is no such barrier.

        Raises:
            StoreUnreachable: There is, and it was not in time.
        """
        if isinstance(synced, exceptions.ResponseError):
            self._excuse(synced)
            return False
        if not synced[0]:
            raise StoreUnreachable(
                f"the store at {self._where()} did not write {what} to its disk in time",
                hint="appendfsync must be everysec or always, as in infra/redis/redis.conf",
            )
        return True

    def _facts(self, *sections: str) -> Mapping[str, Any]:
        """What the server says of itself; nothing where the login is good, and may not ask."""
        facts: Any = {}
        try:
            with self.border():
                facts = self.client.info(*sections)
        except StoreDenied as error:
            if isinstance(error.__cause__, _LoginRefused):
                raise
        return dict(facts)

    def _can_await_disk(self) -> bool:
        """Whether the server has WAITAOF. Its answer means nothing: nothing was written."""
        try:
            with self.border():
                self.client.waitaof(1, 0, 1)
        except (BadConfiguration, StoreDenied):
            return False
        return True

    def _excuse(self, error: exceptions.ResponseError) -> None:
        """Pass if the server has no such barrier at all; ``durability`` says so to people."""
        try:
            with self.border():
                raise error
        except BadConfiguration:
            return

    def _where(self) -> str:
        options = self.client.connection_pool.connection_kwargs
        return f"{options.get('host', 'embedded')}:{options.get('port', '')}"


def _unsound(facts: Mapping[str, Any]) -> str:
    """Why nothing is safe there, by what the server says of itself; empty where it may be."""
    if words := _unsafe(facts):
        return words
    if not facts.get("aof_enabled"):
        return "no append-only file: nothing survives a restart of the server"
    return ""


def _unsafe(facts: Mapping[str, Any]) -> str:
    """Why no federation may be kept there at all, however short."""
    if facts["role"] != "master":
        return "a replica: it takes no writes"
    if (policy := facts["maxmemory_policy"]) != "noeviction":
        return f"maxmemory-policy {policy}: when it is full it forgets what was counted"
    return ""


def _mb(size_bytes: int) -> int:
    return round(size_bytes / 2**20)


def text(value: Any) -> str:
    """What the server answered, as text; clients are opened without decoding."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _translate(error: redis.RedisError, where: str) -> NoReturn:
    match error:
        case exceptions.AuthenticationError() | exceptions.NoPermissionError():
            raise StoreDenied(
                f"the store at {where} refuses this login: {error}",
                hint="check LATECOMER_STORE_USER, its password, and its rights (infra/redis)",
            ) from error
        case exceptions.ResponseError() if "unknown command" in str(error).lower() or (
            "WAITAOF cannot be used" in str(error) or "appendonly is disabled" in str(error)
        ):
            raise BadConfiguration(f"the store at {where}: {error}") from error
        case exceptions.ResponseError() if "WRONGPASS" in str(error) or "NOAUTH" in str(error):
            raise StoreDenied(
                f"the store at {where} refuses this login: {error}",
                hint="check LATECOMER_STORE_USER and its password",
            ) from error
        case exceptions.OutOfMemoryError():
            raise StoreUnreachable(
                f"the store at {where} is full: it holds as much as its maxmemory",
                hint=MORE_MEMORY,
            ) from error
        case exceptions.ReadOnlyError():
            raise StoreUnreachable(
                f"the store at {where} is a replica now, and takes no writes",
                hint="LATECOMER_STORE_URL must lead to the primary",
            ) from error
        case exceptions.ConnectionError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise StoreUnreachable(
                f"no connection to the store at {where}: {error}", hint=UNTRUSTED
            ) from error
        case _:
            raise StoreUnreachable(
                f"the store at {where} does not answer: {error}",
                hint="is it running? see LATECOMER_STORE_URL and `latecomer doctor`",
            ) from error


def _source(name: str) -> str:
    folder = files("latecomer.store") / "scripts"
    parts = (*SCRIPTS[name], name)
    return "".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
