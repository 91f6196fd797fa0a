"""Checks what a deployment needs, one line each: PASSED, or what is wrong and how to fix it."""

import platform
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from latecomer import connect
from latecomer.broker.port import Broker, Message
from latecomer.broker.topology import DEAD, federation_topology, updates_queue
from latecomer.clock import Clock
from latecomer.config import Settings, without_password
from latecomer.errors import BrokerDenied, ExitCode, LatecomerError, Unroutable

#: Python that the lock was made for, and the next ones that CI has seen.
PYTHON_FROM = (3, 11)

#: What to do about updates that were neither folded nor refused.
LOOK_AT_THE_DEAD = (
    "see why on the broker's management page (x-first-death-reason), then purge them: "
    'docs/operations.md, "Dead letters"'
)

PACKAGES = ("pika", "redis", "msgpack", "numpy", "pydantic", "torch")


@dataclass(frozen=True)
class Check:
    """A line of the doctor's table; ``problem`` is empty where it passed."""

    name: str
    found: str
    problem: str = ""
    fix: str = ""
    exit_code: ExitCode = ExitCode.OK

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "check": self.name,
            "passed": not self.problem,
            "found": self.found,
            "problem": self.problem,
            "fix": self.fix,
        }


def examine(settings: Settings, clock: Clock) -> Iterator[Check]:
    """Every check, each on its own: one that fails does not hide the next."""
    yield _python()
    yield from (_package(name) for name in PACKAGES)
    if _installed("torch"):
        yield _attempt("state folder", lambda: _writable(settings), "set LATECOMER_STATE_DIR")
    yield from _broker(settings)
    yield from _store(settings, clock)


def _python() -> Check:
    found = platform.python_version()
    if tuple(int(part) for part in platform.python_version_tuple()[:2]) >= PYTHON_FROM:
        return Check("python", found)
    return Check("python", found, "too old", "install Python 3.11 or newer", ExitCode.BAD_USAGE)


def _package(name: str) -> Check:
    found = _installed(name)
    if found:
        return Check(name, found)
    if name == "torch":
        return Check(
            name, "not installed: fine for an aggregator, and for a worker of family gram or als"
        )
    return Check(name, "-", "not installed", "make install", ExitCode.BAD_USAGE)


def _installed(name: str) -> str:
    """Its version; empty where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _writable(settings: Settings) -> str:
    probe = settings.state_dir / f".probe-{uuid.uuid4().hex}"
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise LatecomerError(f"{settings.state_dir}: {error.strerror}") from error
    return str(settings.state_dir)


def _broker(settings: Settings) -> Iterator[Check]:
    where = without_password(settings.broker_url)
    try:
        broker = connect.broker(settings, client="latecomer-doctor", confirm_timeout_s=5.0)
    except LatecomerError as error:
        yield _failed("broker", where, error, "set LATECOMER_BROKER_URL")
        return
    try:
        check = _attempt("broker", broker.version, f"is a RabbitMQ listening at {where}?")
        yield check
        if check.problem:
            return
        yield _attempt(
            "publishing",
            lambda: _takes(broker),
            "rabbitmq-diagnostics alarms; give it memory or disk",
        )
        yield _attempt("dead letters", lambda: dead_letters(broker), LOOK_AT_THE_DEAD)
        if not settings.federation:
            return
        queue = updates_queue(settings.federation)
        fix = "give this login the rights in infra/rabbitmq, or run: latecomer init RECIPE"

        def declare() -> str:
            if not settings.declare_topology:
                return "left to the operator (LATECOMER_DECLARE_TOPOLOGY=false)"
            broker.declare(federation_topology(settings.federation))
            return "may declare"

        def depth() -> str:
            found = broker.depth(queue)
            if found is None:
                raise LatecomerError(f"there is no queue {queue}")
            return f"{queue}: {found.ready} waiting, {found.consumers} consumers"

        # To declare what is missing would hide it, and leave a queue for every misspelt name.
        there = _attempt("updates queue", depth, fix)
        yield there
        if not there.problem:
            yield _attempt("broker rights", declare, fix)
    finally:
        broker.close()


def _takes(broker: Broker) -> str:
    """Send what no queue wants: it comes back at once, unless an alarm holds publishers up."""
    name = f"latecomer.doctor.{uuid.uuid4().hex}"
    # Who may not send there is told so only where no alarm holds the message up.
    with closing(broker.publisher()) as publisher, suppress(Unroutable, BrokerDenied):
        publisher.publish(Message("", name, b"", name, "latecomer.probe"))
    return "no alarm is on"


def dead_letters(broker: Broker) -> str:
    """That no message is dead, as far as this login may look.

    Raises:
        LatecomerError: Some are: an update that was confirmed may be among them.
    """
    try:
        found = broker.depth(DEAD)
    except BrokerDenied:
        return "this login may not look"
    if found is None:
        return f"there is no queue {DEAD} yet"
    if found.ready:
        raise LatecomerError(f"{found.ready} in {DEAD}")
    return "none"


def _store(settings: Settings, clock: Clock) -> Iterator[Check]:
    where = without_password(settings.store_url)
    federation = settings.federation or "doctor"
    try:
        store = connect.store(
            settings, federation=federation, client="latecomer-doctor", clock=clock
        )
    except LatecomerError as error:
        yield _failed("store", where, error, "set LATECOMER_STORE_URL")
        return
    try:
        check = _attempt("store", store.version, f"is a Redis or Valkey listening at {where}?")
        yield check
        if check.problem:
            return
        yield _attempt("durability", store.keeps_writes, "see infra/redis/redis.conf")
        yield _attempt("store memory", store.takes_writes, "see infra/redis/redis.conf")

        def head() -> str:
            found = store.head()
            if settings.federation and found is None:
                raise LatecomerError(f"federation {federation!r} has no model yet")
            return f"version {found.version}" if found else "no federation named"

        yield _attempt("model", head, "latecomer init RECIPE")
    finally:
        store.close()


def _attempt(name: str, look: Callable[[], str], fix: str) -> Check:
    try:
        return Check(name, look())
    except LatecomerError as error:
        return _failed(name, "-", error, fix)


def _failed(name: str, found: str, error: LatecomerError, fix: str) -> Check:
    return Check(name, found, str(error), error.hint or fix, error.exit_code)
