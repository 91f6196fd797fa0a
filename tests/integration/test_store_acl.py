"""Each login of ``infra/redis`` can do what its role must, by the real adapter, and no more."""

import contextlib
import hashlib
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

import pytest
import redis

from latecomer.broker.memory import MemoryBroker, MemoryServer
from latecomer.clock import ManualClock
from latecomer.config import Settings
from latecomer.errors import ChunkMissing, StoreDenied
from latecomer.events import Staged, Version
from latecomer.store import server as store_server
from latecomer.store.chunks import WITHHELD
from latecomer.store.port import LEDGER_WINDOW_S, Refusal, Verdict
from latecomer.store.redis import RedisStore, connect
from latecomer_aggregator import app as aggregator
from server import LocalRedis
from store_scene import Stores, commit_of, fold, lead, named, publish, refuse

pytest_plugins = ["store_plugin"]

INFRA = Path(__file__).parents[2] / "infra" / "redis"

ROLES = ("aggregator", "worker", "operator")

PAYLOAD = b"a large update"


class Logins:
    """A federation with one version, and the rendered logins under names of their own."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self._suffix = uuid.uuid4().hex[:8]
        self._opened: list[RedisStore] = []
        for line in rendered().splitlines():
            _, name, *rules = line.split()
            if name in ROLES:
                stores.raw.execute_command(  # type: ignore[no-untyped-call]
                    "ACL", "SETUSER", f"{name}-{self._suffix}", "reset", *rules
                )
        self.admin = stores.open()
        self.lease = lead(self.admin)
        folds = (fold("anna:b:1"),)
        self.commit = publish(self.admin, self.lease, 0, b"v0..", folds=folds)

    def store(self, role: str, *, ledger_window_s: float = LEDGER_WINDOW_S) -> RedisStore:
        """A store as ``role`` opens it."""
        store = RedisStore(
            self.client(role),
            federation=self.stores.federation,
            clock=self.stores.clock,
            ledger_window_s=ledger_window_s,
        )
        self._opened.append(store)
        return store

    def client(self, role: str, password: str = "", *, database: int = 0) -> redis.Redis:
        """The connection of ``role``."""
        parts = urlsplit(self.stores.server.url)
        login = f"{role}-{self._suffix}:{password or role}"
        url = f"redis://{login}@{parts.hostname}:{parts.port}/{database}"
        return connect(url, client_name=role)

    def clean(self) -> None:
        for store in self._opened:
            store.close()
        self.stores.raw.acl_deluser(*(f"{role}-{self._suffix}" for role in ROLES))


@pytest.fixture
def logins(real_stores: Stores) -> Iterator[Logins]:
    logins = Logins(real_stores)
    yield logins
    logins.clean()


def rendered() -> str:
    """The rules with each role's name as its password."""
    template = Template((INFRA / "users.acl.template").read_text(encoding="utf-8"))
    hashes = {f"{role}_sha256": hashlib.sha256(role.encode()).hexdigest() for role in ROLES}
    return template.substitute(hashes)


def staged(logins: Logins) -> Staged:
    """What a worker left, as verdicts name it."""
    return frozenset({("anna", logins.store("worker").stage_payload("anna", PAYLOAD))})


def test_the_aggregator_leads_commits_and_refuses(logins: Logins) -> None:
    store = logins.store("aggregator")
    logins.admin.release(logins.lease)
    lease = lead(store)
    assert store.renew(lease, 60)
    superseded = frozenset({"1.0", *named(b"v0..")})
    folds, payloads = (fold("anna:b:2"),), staged(logins)
    publish(store, lease, 1, b"v1..", folds=folds, superseded=superseded, payloads=payloads)
    assert refuse(store, "anna:b:3", payloads=staged(logins))
    store.count_duplicate()
    store.release(lease)
    assert store.holder() is None


def test_the_aggregator_forgets_old_verdicts(logins: Logins) -> None:
    store = logins.store("aggregator", ledger_window_s=60.0)
    refuse(store, "anna:b:2")
    logins.stores.clock.advance(61)
    refuse(store, "anna:b:3")
    publish(store, logins.lease, 1, b"v1..", folds=(fold("anna:b:4"),))
    assert store.applied(f"anna:b:{number}" for number in (1, 2, 3, 4)) == {
        "anna:b:3",
        "anna:b:4",
    }


def test_the_aggregator_stages_again_and_survives_forgotten_scripts(logins: Logins) -> None:
    store = logins.store("aggregator")
    store.stage(named(b"v1.."))
    logins.stores.raw.script_flush()
    publish(store, logins.lease, 1, b"v1..")


@pytest.mark.parametrize("role", ["aggregator", "operator"])
def test_who_runs_a_federation_can_read_all_about_it(logins: Logins, role: str) -> None:
    store = logins.store(role)
    assert store.head() == logins.admin.head()
    assert store.manifest(Version(1, 0)) == logins.commit.manifest
    assert store.read(named(b"v0..")) == named(b"v0..")
    assert store.holder() == logins.lease
    assert store.totals().accepted == 1
    assert [each.worker for each in store.fleet()] == ["anna"]
    assert store.applied(["anna:b:1"]) == {"anna:b:1"}
    assert store.version() == logins.admin.version()
    assert store.durability() == logins.admin.durability()


def test_each_login_claims_of_the_disk_what_it_saw(logins: Logins) -> None:
    assert logins.store("aggregator").keeps_writes() == logins.admin.keeps_writes()
    assert logins.store("operator").keeps_writes() == store_server.UNTRIED
    assert logins.store("worker").keeps_writes() == store_server.UNASKED


def test_no_worker_can_read_sums_though_it_knows_their_names(logins: Logins) -> None:
    (name,) = named(b"sums")
    withheld = {WITHHELD + name: b"sums"}
    logins.store("aggregator").stage(withheld)
    with pytest.raises(StoreDenied):
        logins.store("worker").read(withheld)
    with pytest.raises(ChunkMissing):
        logins.store("worker").read([name])
    assert logins.store("operator").read(withheld) == withheld


@pytest.mark.parametrize("role", ["aggregator", "operator"])
def test_who_runs_a_federation_can_read_staged_payloads(logins: Logins, role: str) -> None:
    name = logins.store("worker").stage_payload("anna", PAYLOAD)
    assert logins.store(role).read_payload("anna", name, len(PAYLOAD)) == PAYLOAD


def test_a_worker_fetches_versions(logins: Logins) -> None:
    store = logins.store("worker")
    head = store.head()
    assert head is not None
    manifest = store.manifest(head.version)
    assert store.read(manifest.chunks()) == named(b"v0..")


def test_a_worker_learns_what_became_of_its_updates(logins: Logins) -> None:
    refuse(logins.admin, "anna:b:2", "stale")
    store = logins.store("worker")
    assert store.verdicts(["anna:b:1"]) == {"anna:b:1": Verdict(folded=True)}
    assert store.verdicts(["anna:b:2"]) == {"anna:b:2": Verdict(folded=False, reason="stale")}
    assert store.applied(["anna:b:1", "anna:b:3"]) == {"anna:b:1"}


def test_a_worker_that_may_not_ask_about_durability_gets_an_answer_all_the_same(
    logins: Logins,
) -> None:
    assert logins.store("worker").durability() == "unknown: this login may not ask"
    assert logins.store("worker").version() == "unknown: this login may not ask"


FORBIDDEN_TO_WORKERS: dict[str, Callable[[Logins, RedisStore], object]] = {
    "move the head": lambda logins, store: store.commit(
        commit_of(logins.lease, Version(1, 1), b"v0..")
    ),
    "write chunks": lambda _, store: store.stage(named(b"evil")),
    "take the lease": lambda _, store: store.acquire("eve", 60),
    "read the lease": lambda _, store: store.holder(),
    "refuse": lambda logins, store: store.refuse(
        logins.lease, Refusal("anna:b:9", "anna", "stale", "")
    ),
    "count": lambda _, store: store.count_duplicate(),
    "read the totals": lambda _, store: store.totals(),
    "read the fleet table": lambda _, store: store.fleet(),
    "read a payload": lambda _, store: store.read_payload("anna", "0" * 32, 1),
}


@pytest.mark.parametrize("what", FORBIDDEN_TO_WORKERS)
def test_a_worker_may_not(logins: Logins, what: str) -> None:
    with pytest.raises(StoreDenied, match="refuses this login"):
        FORBIDDEN_TO_WORKERS[what](logins, logins.store("worker"))


FORBIDDEN_TO_OPERATORS: dict[str, Callable[[Logins, RedisStore], object]] = {
    "move the head": FORBIDDEN_TO_WORKERS["move the head"],
    "write chunks": FORBIDDEN_TO_WORKERS["write chunks"],
    "take the lease": FORBIDDEN_TO_WORKERS["take the lease"],
    "give the lease back": lambda logins, store: store.release(logins.lease),
    "refuse": FORBIDDEN_TO_WORKERS["refuse"],
    "count": FORBIDDEN_TO_WORKERS["count"],
    "leave a payload": lambda _, store: store.stage_payload("anna", PAYLOAD),
}


@pytest.mark.parametrize("what", FORBIDDEN_TO_OPERATORS)
def test_an_operator_may_not(logins: Logins, what: str) -> None:
    with pytest.raises(StoreDenied, match="refuses this login"):
        FORBIDDEN_TO_OPERATORS[what](logins, logins.store("operator"))


def test_an_operator_unlinks_what_a_worker_left_and_nothing_else(logins: Logins) -> None:
    name = logins.store("worker").stage_payload("anna", PAYLOAD)
    payload = logins.stores.keys.payload("anna", name)
    with contextlib.closing(logins.client("operator")) as operator:
        assert payload.encode() in set(operator.scan_iter(match="lc:{*}:u:anna:*"))
        assert operator.unlink(payload) == 1
        for kept in (logins.stores.keys.head, logins.stores.keys.chunk(*named(b"v0.."))):
            with pytest.raises(redis.exceptions.NoPermissionError):
                operator.unlink(kept)
            with pytest.raises(redis.exceptions.NoPermissionError):
                operator.unlink(payload, kept)


@pytest.mark.parametrize("role", ["worker", "operator"])
def test_a_standby_whose_login_may_not_lead_ends_at_once(logins: Logins, role: str) -> None:
    settings, server = Settings(federation=logins.stores.federation), MemoryServer(ManualClock())
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(StoreDenied, match="refuses this login"):
        aggregator.run(
            settings,
            stopped,
            open_broker=lambda *_, **__: MemoryBroker(server, "standby"),
            open_store=lambda *_, **__: logins.store(role),
        )


#: Raw commands, because the adapter would not even try.
HOSTILE = [
    "HSET {head} version 99",
    "SET {manifest} evil",
    "SET {chunk} evil",
    "DEL {head}",
    "DEL {payload}",
    "UNLINK {head}",
    "UNLINK {chunk}",
    "RENAME {payload} {chunk}",
    "COPY {payload} {chunk}",
    "ZADD {applied} 1 anna:b:9",
    "HSET {refused} anna:b:9 stale",
    "EVAL return 0",
    "KEYS *",
    "FLUSHALL",
    "CONFIG GET *",
    "ACL LIST",
    "CLIENT LIST",
    "CLIENT KILL TYPE normal",
    "SHUTDOWN NOSAVE",
    "MONITOR",
    "SUBSCRIBE lc",
    "PUBLISH lc evil",
    "FUNCTION LIST",
    "REPLICAOF NO ONE",
]


@pytest.mark.parametrize("role", ["worker", "operator"])
@pytest.mark.parametrize("command", HOSTILE)
def test_the_server_itself_refuses(logins: Logins, role: str, command: str) -> None:
    keys = logins.stores.keys
    places = {
        "head": keys.head,
        "manifest": keys.manifest(Version(1, 0)),
        "chunk": keys.chunk(*named(b"v0..")),
        "payload": keys.payload("anna", "0" * 32),
        "applied": keys.applied,
        "refused": keys.refused,
    }
    words = [word.format(**places) for word in command.split()]
    _assert_denied(logins, role, words)


@pytest.mark.parametrize(
    "command", ["SCAN 0", "CLIENT TRACKING ON BCAST PREFIX lc:", "UNLINK lc:{tests}:u:anna:0"]
)
def test_a_worker_neither_lists_nor_takes_away_what_others_left(
    logins: Logins, command: str
) -> None:
    _assert_denied(logins, "worker", command.split())


@pytest.mark.parametrize(
    "command", ["SELECT 1", "SET lc:{tests}:u:junk x", "SETRANGE lc:{tests}:u:junk 0 x"]
)
def test_a_worker_writes_nowhere_that_an_operator_would_not_look(
    logins: Logins, command: str
) -> None:
    _assert_denied(logins, "worker", command.split())


def test_an_operator_finds_and_unlinks_what_former_rules_let_workers_write(logins: Logins) -> None:
    junk = logins.stores.keys.payload("anna", "").removesuffix("anna:") + "junk"
    with contextlib.closing(logins.client("operator", database=1)) as operator:
        with contextlib.closing(redis.Redis.from_url(f"{logins.stores.server.url}/1")) as admin:
            admin.set(junk, "x", ex=60)
        assert "db1" in operator.info("keyspace")
        assert operator.unlink(*operator.scan_iter(match=junk)) == 1


@pytest.mark.parametrize("worker", ["a", "3", "device-12", "x" * 40])
def test_every_worker_that_a_recipe_may_name_stages(logins: Logins, worker: str) -> None:
    name = logins.store("worker").stage_payload(worker, PAYLOAD)
    assert logins.store("aggregator").read_payload(worker, name, len(PAYLOAD)) == PAYLOAD


@pytest.mark.parametrize(
    "command", ["KEYS *", "FLUSHALL", "CONFIG GET *", "ACL LIST", "CLIENT LIST"]
)
def test_even_the_aggregator_is_no_administrator(logins: Logins, command: str) -> None:
    _assert_denied(logins, "aggregator", command.split())


def test_the_aggregator_sees_only_federations(logins: Logins) -> None:
    _assert_denied(logins, "aggregator", ["GET", "session:42"])


def test_a_wrong_password_opens_nothing(logins: Logins) -> None:
    client = logins.client("worker", password="operator")
    store = RedisStore(client, federation="tests", clock=ManualClock())
    with pytest.raises(StoreDenied):
        store.head()
    store.close()


def test_the_handshake_of_a_login_breaks_no_rule(logins: Logins) -> None:
    logins.stores.raw.acl_log_reset()
    for role in ROLES:
        logins.store(role).head()
    denied = [entry["object"] for entry in logins.stores.raw.acl_log()]
    assert denied == []


class ConfiguredRedis(LocalRedis):
    """A local server with the shipped settings and logins, as a container would run it."""

    def _command(self) -> list[str]:
        settings = (INFRA / "redis.conf").read_text(encoding="utf-8")
        # The one setting that only fits a container; it must exist when it is read.
        here = settings.replace("dir /data", f"dir {self._folder}")
        (self._folder / "redis.conf").write_text(here, encoding="utf-8")
        (self._folder / "users.acl").write_text(rendered(), encoding="utf-8")
        files = [str(self._folder / "redis.conf"), "--aclfile", str(self._folder / "users.acl")]
        return [self._binary, *files, "--port", str(self._port), "--maxmemory", "64mb"]

    @property
    def data(self) -> Path:
        """Where it keeps what it was given."""
        return self._folder

    def _address(self) -> str:
        return f"redis://operator:operator@127.0.0.1:{self._port}"


@pytest.fixture(params=["redis-server", "valkey-server"])
def configured(request: pytest.FixtureRequest) -> Iterator[ConfiguredRedis]:
    binary = shutil.which(request.param)
    if binary is None:
        pytest.skip(f"no {request.param}")
    server = ConfiguredRedis(binary)
    yield server
    server.discard()


def test_what_was_committed_under_the_shipped_rules_survives_a_restart(
    configured: ConfiguredRedis,
) -> None:
    # Servers replay their append-only file as the default user: with no rights, no commit returns.
    with contextlib.closing(_store(configured, "aggregator:aggregator@")) as aggregator:
        publish(aggregator, lead(aggregator), 0, b"v0..")
        configured.restart()
        head = aggregator.head()
    assert head is not None
    assert head.version == Version(1, 0)


def test_what_is_on_the_disk_is_no_servers_own_format(configured: ConfiguredRedis) -> None:
    """Valkey 8 reads Redis 8's commands, and none of its snapshots."""
    with contextlib.closing(_store(configured, "aggregator:aggregator@")) as aggregator:
        publish(aggregator, lead(aggregator), 0, b"v0..")
    configured.restart()
    files = sorted(configured.data.glob("appendonlydir/*"))
    assert files
    assert [each.name for each in files if each.read_bytes().startswith(b"REDIS")] == []


@pytest.mark.parametrize("login", ["", ":default@", "default:@", "default:default@"])
def test_without_a_login_the_shipped_rules_allow_nothing(
    configured: ConfiguredRedis, login: str
) -> None:
    with (
        contextlib.closing(_store(configured, login)) as store,
        pytest.raises(StoreDenied, match="refuses this login"),
    ):
        store.head()


def _store(server: ConfiguredRedis, login: str) -> RedisStore:
    url = server.url.replace("operator:operator@", login)
    return RedisStore(connect(url, client_name="tests"), federation="t", clock=ManualClock())


def _assert_denied(logins: Logins, role: str, words: list[str]) -> None:
    client = logins.client(role)
    try:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*words)  # type: ignore[no-untyped-call]
    finally:
        client.close()
