"""Servers as tests see them: given, in a container, or a local process; start, stop, kill.

A server starts when a test first asks for its ``url`` and keeps its port and data when stopped and
started again. Only servers that we started (``Server.ours``) may be treated like that.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

import pytest
import redis
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from latecomer.broker.rabbit import RabbitBroker
from latecomer.errors import BrokerUnreachable

#: RabbitMQ boots for 7 s on an idle machine; tests often run on busy ones.
START_DEADLINE_S = 90.0

#: A clean stop flushes; whoever takes longer is killed.
STOP_DEADLINE_S = 30.0

#: What a RabbitMQ may run out of; it then blocks who publishes, until it has enough again.
Resource = Literal["memory", "disk"]

#: What to tell rabbitmqctl so that a resource is short, and so that it is not.
ALARMS: dict[Resource, tuple[str, str, str]] = {
    "memory": ("set_vm_memory_high_watermark", "0", "0.6"),
    "disk": ("set_disk_free_limit", "1000000GB", "50MB"),
}

#: Ports for servers; above are those that Linux gives to whoever connects.
SERVED = range(20_000, 32_768)

#: Locks, held until this process ends: no other process of ours is given their ports.
_locks: list[int] = []

#: How often a deadline helper looks: often enough that nobody waits for it.
POLL_S = 0.02


def eventually(
    condition: Callable[[], bool], *, within_s: float, what: str = "the condition"
) -> None:
    """Return once ``condition`` holds; fail the test if it does not ``within_s``."""
    deadline_s = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"{what} did not come true within {within_s} s")
        pause.wait(POLL_S)


class Server:
    """A server that tests may talk to; starts on first use of ``url`` or ``name``."""

    ours = True

    def __init__(self, label: str, how: str) -> None:
        self.label = label
        self.how = how
        self.exercised = False
        self._name = ""
        self._broken = ""

    def __str__(self) -> str:
        return f"{self.label} ({self.how})"

    @property
    def url(self) -> str:
        """Address with a login that may do everything."""
        self._use()
        return self._address()

    @property
    def name(self) -> str:
        """Product and version, as the server introduces itself."""
        self._use()
        return self._name

    def restart(self) -> None:
        """Stop and start with the same data on the same port."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start, and return once it answers."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop cleanly; data stays."""
        raise NotImplementedError

    def kill(self) -> None:
        """Stop as a power cut would; data stays as far as it was written."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Stop to answer without closing anything, as a machine out of memory does."""
        raise NotImplementedError

    def thaw(self) -> None:
        """Go on as if nothing had happened."""
        raise NotImplementedError

    def discard(self) -> None:
        """End of the session: stop and leave nothing behind."""

    def add_user(self, name: str, password: str, *, configure: str, write: str, read: str) -> str:
        """Create a login with these permission patterns; returns its URL (RabbitMQ only)."""
        self.control("add_user", name, password)
        self.control("set_permissions", "-p", "/", name, configure, write, read)
        return self.url.replace("guest:guest@", f"{name}:{password}@")

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl against this server."""
        raise NotImplementedError

    def raise_alarm(self, resource: Resource) -> None:
        """Run short of a resource, until cleared or restarted (RabbitMQ only).

        The last publishers hear of it a moment after this returns.
        """
        setting, short, _enough = ALARMS[resource]
        self.control(setting, short)

    def clear_alarm(self, resource: Resource) -> None:
        """Have enough of a resource again (RabbitMQ only)."""
        setting, _short, enough = ALARMS[resource]
        self.control(setting, enough)

    def limit_memory(self, size_bytes: int) -> None:
        """Refuse what is written beyond it; 0 for no limit (Redis only)."""
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            client.config_set("maxmemory", size_bytes)

    def flush(self) -> None:
        """Forget everything, scripts apart, as one mistyped command does (Redis only)."""
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            client.flushall()

    def _address(self) -> str:
        raise NotImplementedError

    def _use(self) -> None:
        if self.exercised:
            return
        if self._broken:
            _unavailable(self._broken)
        try:
            self.start()
            self._name = _introduce(self._address())
        except (OSError, DockerException, BrokerUnreachable, subprocess.SubprocessError) as error:
            self.discard()
            self._broken = f"{self} does not start: {error}"
            _unavailable(self._broken)
        self.exercised = True


class GivenServer(Server):
    """A server that somebody else runs, known by its URL."""

    ours = False

    def __init__(self, url: str) -> None:
        super().__init__(urlsplit(url).hostname or url, "URL")
        self._url = url

    def start(self) -> None:
        """Nothing to start: it runs."""

    def _address(self) -> str:
        return self._url


class Container(Server):
    """A server in a container, on a host port that survives a restart."""

    def __init__(self, image: str, scheme: str, port: int, command: str = "") -> None:
        super().__init__(image, "container")
        self._scheme = scheme
        self._host_port = free_port()
        self._docker = DockerContainer(image).with_bind_ports(port, self._host_port)
        self._command = command
        self._created = False

    def start(self) -> None:
        if self._created:
            self._docker.get_wrapped_container().start()
        else:
            if self._command:
                self._docker.with_command(self._command)
            self._docker.start()
            self._created = True
        await_answer(self._address())

    def stop(self) -> None:
        self._docker.get_wrapped_container().stop(timeout=int(STOP_DEADLINE_S))

    def kill(self) -> None:
        self._docker.get_wrapped_container().kill()

    def freeze(self) -> None:
        self._docker.get_wrapped_container().pause()

    def thaw(self) -> None:
        self._docker.get_wrapped_container().unpause()

    def discard(self) -> None:
        if self._created:
            self._docker.stop()
            self._docker.get_docker_client().client.close()

    def control(self, *arguments: str) -> str:
        result = self._docker.exec(["rabbitmqctl", "-q", *arguments])
        if result.exit_code != 0:
            pytest.fail(f"rabbitmqctl {arguments}: {result.output.decode()}")
        return result.output.decode()

    def _address(self) -> str:
        host = self._docker.get_container_host_ip()
        login = "guest:guest@" if self._scheme == "amqp" else ""
        return f"{self._scheme}://{login}{host}:{self._host_port}"


class LocalProcess(Server):
    """A local binary on a free port, with a data folder of its own."""

    def __init__(self, label: str, scheme: str) -> None:
        super().__init__(label, "local binary")
        self._scheme = scheme
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="latecomer-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        await_answer(self._address())
        if self._process.poll() is not None:
            raise OSError("it ended, and somebody else answers on its port")

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def discard(self) -> None:
        if self._process is not None:
            self._signal(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        # The whole group: rabbitmq-server is a shell script around the Erlang machine.
        os.killpg(process.pid, number)
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _address(self) -> str:
        login = "guest:guest@" if self._scheme == "amqp" else ""
        return f"{self._scheme}://{login}127.0.0.1:{self._port}"

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _command(self) -> list[str]:
        raise NotImplementedError


class LocalRedis(LocalProcess):
    """``redis-server`` or ``valkey-server`` that writes down every change."""

    def __init__(self, binary: str) -> None:
        super().__init__(Path(binary).name, "redis")
        self._binary = binary

    def _command(self) -> list[str]:
        options = {"port": str(self._port), "bind": "127.0.0.1", "dir": str(self._folder)} | {
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        return [
            self._binary,
            *(part for key, value in options.items() for part in (f"--{key}", value)),
        ]


class LocalRabbit(LocalProcess):
    """``rabbitmq-server`` with its own node name, cookie, port mapper and data."""

    def __init__(self, binary: str) -> None:
        super().__init__("rabbitmq-server", "amqp")
        self._binary = binary
        self._mapper_port = free_port()
        self._dist_port = free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self._folder / "enabled_plugins").write_text("[].\n")
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self._port}\nlog.console = false\n"
        )
        if self._mapper is None:
            # Erlang would start one that nobody stops; this one is ours.
            command = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
            self._mapper = subprocess.Popen(command, start_new_session=True)
        super().start()

    def discard(self) -> None:
        super().discard()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()

    def control(self, *arguments: str) -> str:
        command = [str(Path(self._binary).with_name("rabbitmqctl")), "-q", *arguments]
        result = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            pytest.fail(f"rabbitmqctl {arguments}: {result.stderr}")
        return result.stdout

    def _command(self) -> list[str]:
        return [self._binary]

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return super()._environment() | {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"latecomer-{self._port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "ERL_EPMD_PORT": str(self._mapper_port),
            # One scheduler: a test node must not take the machine from the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }


def free_port() -> int:
    """A port nobody listens on at this moment, which no other process of ours is given.

    A server is started on it long after, and perhaps twice: those that the system gives to whoever
    connects are no good, and nobody else may have been told the same.
    """
    for port in SERVED:
        with contextlib.suppress(OSError), socket.socket() as probe:
            _lock(port)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is left for another server")


def _lock(port: int) -> None:
    """BlockingIOError where another process, or this one, has it."""
    path = Path(tempfile.gettempdir(), f"latecomer-port-{port}.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    _locks.append(lock)


def await_answer(url: str) -> None:
    """Return once the server introduces itself; BrokerUnreachable or OSError after a deadline."""
    deadline_s = time.monotonic() + START_DEADLINE_S
    pause = threading.Event()
    while True:
        try:
            _introduce(url)
        except (BrokerUnreachable, redis.ConnectionError, redis.TimeoutError) as error:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"no answer within {START_DEADLINE_S} s") from error
            pause.wait(0.1)
        else:
            return


def _introduce(url: str) -> str:
    if url.startswith("amqp"):
        return RabbitBroker(url, client_name="tests", confirm_timeout_s=10).version()
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        about: dict[str, Any] = client.info("server")
    if "valkey_version" in about:
        return f"Valkey {about['valkey_version']}"
    return f"Redis {about['redis_version']}"


def in_ci() -> bool:
    """Whether a missing server is a failure rather than a skip."""
    return os.environ.get("CI", "").lower() == "true"


def _unavailable(reason: str) -> NoReturn:
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)
