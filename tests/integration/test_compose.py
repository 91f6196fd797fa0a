"""The deployment of docker-compose.yml, for real: it comes up, survives kills, and resumes.

One stack for the whole module, under a project name, ports and volumes of its own. Every test finds
it running and leaves it running.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from latecomer import connect
from latecomer.broker.port import Broker, Message
from latecomer.broker.topology import (
    ROUNDS,
    UPDATES,
    rounds_queue,
    update_key,
    updates_queue,
    worker_topology,
)
from latecomer.clock import SystemClock
from latecomer.config import Settings
from latecomer.errors import BrokerDenied, ChunkMissing, StoreDenied, StoreUnreachable
from latecomer.events import Version
from latecomer.store.port import ModelStore
from latecomer_cli import status as status_
from server import eventually, free_port

#: One deployment for all of them, and therefore one process.
pytestmark = [pytest.mark.compose, pytest.mark.timeout(900), pytest.mark.xdist_group("compose")]

ROOT = Path(__file__).parents[2]
FEDERATION = "three-cities"
CITIES = {"beijing", "shanghai", "guangzhou"}

#: The first time, images are built and torch is downloaded.
UP_S = 840

#: From the leader's death to the standby's first word, as promised.
FAILOVER_S = 15.0

#: From a server's start to the next version. It has to boot first, on a busy machine.
HEAL_S = 120.0

#: Training on a busy machine, for the next version or a new worker's first.
PROGRESS_S = 120.0


@dataclass
class Stack:
    """The compose project, and the operator's view of it."""

    folder: Path
    project: str = field(default_factory=lambda: f"latecomer-test-{uuid.uuid4().hex[:8]}")
    ports: dict[str, int] = field(
        default_factory=lambda: {
            name: free_port() for name in ("BROKER", "MANAGEMENT", "STORE", "PROMETHEUS")
        }
    )
    devices: int = 0

    def environment(self) -> dict[str, str]:
        """What makes the project one of its own; `latecomer` is that of this environment."""
        ports = {f"LATECOMER_{name}_PORT": str(port) for name, port in self.ports.items()}
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        own = {"COMPOSE_PROJECT_NAME": self.project, "LATECOMER_DEVICES": str(self.devices)}
        return os.environ | ports | own | {"PATH": path}

    def run(self, *command: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command in the repository as the README's reader would; output in one."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def compose(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run docker compose; fail with all it said and the services' logs."""
        result = self.run("docker", "compose", *arguments, timeout_s=timeout_s)
        if result.returncode != 0:
            pytest.fail(f"docker compose {' '.join(arguments)}:\n{result.stdout}\n{self.logs()}")
        return result.stdout

    def up(self, *arguments: str) -> None:
        """Bring up what is not up; with `--build`, exactly as the README says."""
        self.compose("up", "-d", "--wait", *arguments, timeout_s=UP_S)

    def logs(self) -> str:
        """The last words of every service."""
        return self.run("docker", "compose", "logs", "--no-color", "--tail", "40").stdout

    def discard(self) -> None:
        """Leave nothing behind but what building left in the engine's cache."""
        self.run("docker", "compose", "--profile", "*", "down", "-v", "-t", "5")
        self.run("docker", "image", "rm", f"{self.project}-aggregator", f"{self.project}-worker")

    def script(self, lines: str, folder: Path) -> None:
        """Run shell lines as an operator would who stands in `folder`."""
        done = subprocess.run(
            ["sh", "-ec", lines],
            cwd=folder,
            env=self.environment() | {"COMPOSE_FILE": str(ROOT / "docker-compose.yml")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"{lines}\n{done.stdout}{done.stderr}\n{self.logs()}")

    def made_s(self, version: str) -> float:
        """When a version was made; it may have been superseded."""
        store = open_store(self.settings("operator", "operator"))
        try:
            return store.manifest(Version(*map(int, version.split(".")))).at_s
        finally:
            store.close()

    def settings(self, login: str, store_login: str) -> Settings:
        """How `login` reaches both servers from this machine, with its own passwords."""
        folder = self.folder / login
        if not folder.exists():
            folder.mkdir()
            self.compose("cp", f"keys:/keys/{login}/.", str(folder))
        return Settings(
            broker_url=f"amqp://127.0.0.1:{self.ports['BROKER']}/latecomer",
            broker_user=login,
            broker_password=(folder / "latecomer_broker_password").read_text(),
            store_url=f"redis://127.0.0.1:{self.ports['STORE']}/0",
            store_user=store_login,
            store_password=(folder / "latecomer_store_password").read_text(),
            federation=FEDERATION,
        )

    def status(self) -> dict[str, Any]:
        """What `latecomer status` shows to the operator."""
        store = open_store(self.settings("operator", "operator"))
        try:
            return status_.gather(store, FEDERATION, SystemClock())
        finally:
            store.close()

    def await_status(
        self, condition: Callable[[dict[str, Any]], bool], *, within_s: float, what: str
    ) -> float:
        """Seconds until the status is as wanted; a store that is away is waited for."""
        started_s = time.monotonic()

        def holds() -> bool:
            try:
                return condition(self.status())
            except StoreUnreachable:
                return False

        eventually(holds, within_s=within_s, what=what)
        return time.monotonic() - started_s

    def await_version_after(self, number: int, *, within_s: float = PROGRESS_S) -> float:
        """Seconds until there is a version newer than `number`."""
        return self.await_status(
            lambda found: found["number"] > number, within_s=within_s, what=f"version > {number}"
        )

    def await_leader(self) -> dict[str, Any]:
        """The status, once somebody leads and versions rise."""
        self.await_version_after(self.status()["number"])
        found = self.status()
        assert found["leader"] is not None
        return found


def open_store(settings: Settings) -> ModelStore:
    return connect.store(settings, federation=FEDERATION, client="test", clock=SystemClock())


def why_not() -> str:
    """Why there is nothing to run compose on; empty where there is."""
    if shutil.which("docker") is None:
        return "no docker command"
    for question, lacking in (
        (("docker", "info"), "no Docker engine answers"),
        (("docker", "compose", "version"), "no docker compose v2"),
    ):
        if subprocess.run(question, capture_output=True, check=False).returncode != 0:
            return lacking
    return ""


def documented(title: str) -> list[str]:
    """The commands that docs/operations.md gives under a title, block by block."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .+\n)+", section, re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]


def say(line: str) -> None:
    """Measured times: part of what the test is for; pytest -rP shows them."""
    sys.stdout.write(f"{line}\n")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if reason := why_not():
        pytest.skip(f"compose: {reason}")
    stack = Stack(tmp_path_factory.mktemp("passwords"))
    try:
        started_s = time.monotonic()
        stack.up("--build")
        say(f"up --build --wait: {time.monotonic() - started_s:.1f} s")
        yield stack
    finally:
        stack.discard()


@pytest.fixture(autouse=True)
def logs_on_failure(request: pytest.FixtureRequest, stack: Stack) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        say(stack.logs())


@pytest.fixture
def beijing(stack: Stack) -> Settings:
    return stack.settings("beijing", "worker")


@pytest.fixture
def beijings_broker(beijing: Settings) -> Iterator[Broker]:
    broker = connect.broker(beijing, client="test")
    yield broker
    broker.close()


def test_three_cities_work_on_rising_versions_and_the_host_can_look(stack: Stack) -> None:
    stack.await_version_after(0)
    stack.await_version_after(stack.status()["number"])
    stack.await_status(
        lambda found: {each["worker"] for each in found["workers"]} >= CITIES,
        within_s=PROGRESS_S,
        what="three cities",
    )
    shown = stack.run("infra/status.sh")
    assert shown.returncode == 0, shown.stdout
    assert all(city in shown.stdout for city in CITIES)
    assert "leader aggregator-" in shown.stdout


def test_the_killed_leader_is_replaced_by_the_standby_and_versions_go_on(stack: Stack) -> None:
    before = stack.await_leader()
    leader = before["leader"].rpartition("-")[0]
    stack.compose("kill", leader)
    took_s = stack.await_status(
        lambda found: found["leader"] not in {None, before["leader"]},
        within_s=FAILOVER_S,
        what="another leader",
    )
    after_s = stack.await_version_after(before["number"] + 1)
    say(f"leader killed: another leads after {took_s:.1f} s, next version {after_s:.1f} s later")
    stack.up(leader)
    after = stack.status()
    assert after["leader"].rpartition("-")[0] != leader
    assert after["fence"] > before["fence"]


@pytest.mark.parametrize("server", ["rabbitmq", "store"])
def test_a_server_that_is_killed_and_started_again_heals_by_itself(
    stack: Stack, server: str
) -> None:
    before = stack.await_leader()
    stack.compose("kill", server)
    stack.compose("start", server)
    took_s = stack.await_version_after(before["number"] + 2, within_s=HEAL_S)
    say(f"{server} killed and started: versions rise again after {took_s:.1f} s")
    after = stack.status()
    assert epoch(after) == epoch(before)
    stack.up()


def test_down_and_up_resumes_at_the_same_version(stack: Stack) -> None:
    stack.await_leader()
    stopped_s = time.monotonic()
    # The last version that anybody can know of: workers first, so that it stands still.
    stack.compose("stop", *CITIES, "aggregator-a", "aggregator-b")
    before = stack.status()
    stack.compose("down")
    started_s = time.monotonic()
    stack.up()
    up_s = time.monotonic()
    after = stack.status()
    assert epoch(after) == epoch(before)
    assert after["number"] >= before["number"]
    assert after["updates"]["accepted"] >= before["updates"]["accepted"]
    stack.await_version_after(after["number"])
    say(
        f"down: {started_s - stopped_s:.1f} s, up: {up_s - started_s:.1f} s, "
        f"version {before['version']} -> {after['version']}, "
        f"next version after {time.monotonic() - up_s:.1f} s"
    )


def test_a_backup_is_restored_as_documented_and_versions_go_on_from_it(
    stack: Stack, tmp_path: Path
) -> None:
    backup, restore = documented("Backup and restore")
    stack.script(backup, tmp_path)
    saved = stack.await_leader()
    stack.await_version_after(saved["number"] + 5)
    lost = stack.status()
    made_s = stack.made_s(lost["version"])
    stack.script(restore, tmp_path)
    took_s = stack.await_version_after(lost["number"], within_s=HEAL_S)
    say(f"restored: past {lost['version']} again {took_s:.1f} s later")
    assert epoch(stack.status()) == epoch(lost)
    assert stack.made_s(lost["version"]) > made_s


def test_the_operator_unlinks_what_a_worker_staged_as_documented(
    stack: Stack, beijing: Settings, tmp_path: Path
) -> None:
    (unlink,) = documented("What a worker staged")
    worker = open_store(beijing)
    operator = open_store(stack.settings("operator", "operator"))
    try:
        names = [worker.stage_payload(each, b"too much") for each in ("beijing", "shanghai")]
        stack.script(unlink.replace("<name>", "beijing"), tmp_path)
        with pytest.raises(ChunkMissing):
            operator.read_payload("beijing", names[0], 8)
        assert operator.read_payload("shanghai", names[1], 8) == b"too much"
    finally:
        worker.close()
        operator.close()


def test_what_was_built_twice_is_the_same_and_nobody_is_started_anew(stack: Stack) -> None:
    stack.up()  # as it is without what other tests set
    before = stack.compose("ps", "-q", *CITIES, "aggregator-a", "aggregator-b")
    stack.compose("build", timeout_s=UP_S)
    stack.up()
    assert stack.compose("ps", "-q", *CITIES, "aggregator-a", "aggregator-b") == before


def test_the_doctor_has_nothing_to_say_but_that_all_is_well(stack: Stack) -> None:
    done = stack.run("env", "LATECOMER_COMMAND=doctor", "infra/status.sh")
    assert done.returncode == 0, done.stdout
    assert all(line.startswith(("PASSED ", "next: ")) for line in done.stdout.splitlines())


def test_alerts_fire_when_they_should_and_not_when_all_is_counted(stack: Stack) -> None:
    folder = ROOT / "tests" / "integration"
    stack.compose(
        *(
            "--profile",
            "observability",
            "run",
            "--rm",
            "-T",
            "--no-deps",
            "-e",
            "TMPDIR=/prometheus",
        ),
        *("-v", f"{folder / 'alerts.yml'}:/alerts.yml:ro", "--entrypoint", "promtool"),
        *("prometheus", "test", "rules", "/alerts.yml"),
    )


def test_more_devices_join_and_stay_whatever_else_is_brought_up(stack: Stack) -> None:
    stack.devices = 2
    stack.up()
    took_s = stack.await_status(
        lambda found: {each["worker"] for each in found["workers"]} >= {"device-1", "device-2"},
        within_s=PROGRESS_S,
        what="two devices",
    )
    say(f"two devices: both in the fleet after {took_s:.1f} s")
    stack.up()
    assert len(stack.compose("ps", "-q", "device").split()) == stack.devices
    stack.devices = 0
    stack.up()


def test_a_worker_cannot_declare_a_queue(beijings_broker: Broker) -> None:
    with pytest.raises(BrokerDenied):
        beijings_broker.declare(worker_topology(FEDERATION, "beijing"))


@pytest.mark.parametrize("queue", [rounds_queue("shanghai"), updates_queue(FEDERATION)])
def test_a_worker_cannot_read_what_is_not_its_own(beijings_broker: Broker, queue: str) -> None:
    subscription = beijings_broker.subscribe(queue, prefetch=1)
    with pytest.raises(BrokerDenied):
        subscription.receive(30.0)


@pytest.mark.parametrize(
    ("exchange", "key"),
    [
        (UPDATES, update_key(FEDERATION, "shanghai")),
        (ROUNDS, f"round.{FEDERATION}.all"),
        ("", rounds_queue("shanghai")),
    ],
)
def test_a_worker_cannot_speak_for_others(beijings_broker: Broker, exchange: str, key: str) -> None:
    message = Message(exchange=exchange, routing_key=key, body=b"x", message_id="x", type="x")
    with pytest.raises(BrokerDenied):
        beijings_broker.publisher().publish(message)


@pytest.mark.parametrize("login", ["beijing", "operator"])
def test_neither_a_worker_nor_the_operator_can_touch_the_model(stack: Stack, login: str) -> None:
    store = open_store(stack.settings(login, "worker" if login == "beijing" else login))
    try:
        head = store.head()
        assert head is not None
        assert store.read(store.manifest(head.version).fetched())
        with pytest.raises(StoreDenied):
            store.stage({"0" * 64: b"mine"})
        with pytest.raises(StoreDenied):
            store.acquire("mine", 10.0)
    finally:
        store.close()


def test_the_aggregators_image_has_no_torch(stack: Stack) -> None:
    result = stack.run(
        *("docker", "compose", "exec", "-T", "aggregator-a"), "python", "-c", "import torch"
    )
    assert result.returncode != 0
    assert "No module named 'torch'" in result.stdout


@pytest.mark.parametrize("service", ["aggregator-a", "beijing", "store"])
def test_what_runs_here_is_not_root_and_writes_only_where_it_may(
    stack: Stack, service: str
) -> None:
    assert stack.compose("exec", "-T", service, "id", "-u").strip() == "10001"
    result = stack.run(*("docker", "compose", "exec", "-T", service), "touch", "/usr/x")
    assert result.returncode != 0
    assert "Read-only file system" in result.stdout


def test_a_worker_sees_no_passwords_but_its_own(stack: Stack) -> None:
    found = stack.compose("exec", "-T", "beijing", "find", "/run/secrets", "-type", "f")
    assert sorted(found.split()) == [
        "/run/secrets/latecomer_broker_password",
        "/run/secrets/latecomer_store_password",
    ]


def test_prometheus_finds_everybody(stack: Stack) -> None:
    stack.compose("--profile", "observability", "up", "-d", "--wait")
    url = f"http://127.0.0.1:{stack.ports['PROMETHEUS']}/api/v1/query?query=sum(up)"

    def all_up() -> bool:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return '"4"]' in answer.read().decode()

    eventually(all_up, within_s=90, what="four targets up")
    stack.compose("--profile", "observability", "rm", "-s", "-f", "prometheus")


def epoch(status: dict[str, Any]) -> str:
    return str(status["version"].partition(".")[0])
