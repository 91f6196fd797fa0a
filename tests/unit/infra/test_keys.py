"""infra/keys.py: a login may do what its service does and nothing else; repeating is harmless."""

import base64
import hashlib
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from latecomer.broker.topology import (
    DEAD,
    ROUNDS,
    UPDATES,
    round_key,
    rounds_queue,
    update_key,
    updates_queue,
)
from latecomer.events import NAME_PATTERN

INFRA = Path(__file__).parents[3] / "infra"
KEYS = runpy.run_path(str(INFRA / "keys.py"))
WORKERS = ["beijing", "device"]
AUDIENCES = ["rabbitmq", "store", "aggregator", "operator", "init", *WORKERS]
TEMPLATE = "worker #${worker_sha256} aggregator #${aggregator_sha256} operator #${operator_sha256}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for audience in AUDIENCES:
        (tmp_path / audience).mkdir()
    prepare(tmp_path)
    return tmp_path


#: A worker that each login is.
IS = {"beijing": "beijing", "device": "device-12"}


def prepare(folder: Path, workers: list[str] = WORKERS) -> None:
    KEYS["prepare"](folder, TEMPLATE, "three-cities", workers, slots=["device"])


def password(folder: Path, audience: str, server: str) -> str:
    return (folder / audience / f"latecomer_{server}_password").read_text().strip()


def definitions(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "rabbitmq/definitions.json").read_text())
    return content


def may(folder: Path, user: str, kind: str, name: str) -> bool:
    (row,) = (each for each in definitions(folder)["permissions"] if each["user"] == user)
    return re.search(row[kind], name) is not None


def may_send(folder: Path, user: str, exchange: str, key: str) -> bool:
    rows = [each for each in definitions(folder)["topic_permissions"] if each["user"] == user]
    patterns = [each["write"] for each in rows if each["exchange"] == exchange]
    return all(re.search(pattern, key) for pattern in patterns)


def contents(folder: Path) -> dict[str, bytes]:
    files = (each for each in folder.rglob("*") if each.is_file())
    return {str(each.relative_to(folder)): each.read_bytes() for each in files}


def test_each_login_has_a_password_of_its_own_and_roles_that_share_one_share_it(
    folder: Path,
) -> None:
    logins = ["aggregator", "operator", *WORKERS]
    assert len({password(folder, each, "broker") for each in logins}) == len(logins)
    assert password(folder, "init", "broker") == password(folder, "operator", "broker")
    assert password(folder, "init", "store") == password(folder, "aggregator", "store")
    assert password(folder, "store", "store") == password(folder, "operator", "store")
    assert len({password(folder, each, "store") for each in WORKERS}) == 1


def test_running_again_changes_nothing(folder: Path) -> None:
    before = contents(folder)
    prepare(folder)
    assert contents(folder) == before


def test_a_lost_folder_is_filled_again_and_a_new_worker_joins(folder: Path) -> None:
    before = password(folder, "operator", "broker")
    (folder / "init/latecomer_broker_password").unlink()
    (folder / "shanghai").mkdir()
    prepare(folder, [*WORKERS, "shanghai"])
    assert password(folder, "init", "broker") == before
    assert password(folder, "shanghai", "store") == password(folder, "beijing", "store")
    assert may(folder, "shanghai", "read", rounds_queue("shanghai"))


def test_servers_get_digests_that_fit_the_passwords(folder: Path) -> None:
    users = {each["name"]: each for each in definitions(folder)["users"]}
    assert set(users) == {"aggregator", "operator", *WORKERS}
    kept = base64.b64decode(users["beijing"]["password_hash"])
    secret = password(folder, "beijing", "broker").encode()
    assert kept[4:] == hashlib.sha256(kept[:4] + secret).digest()
    digest = hashlib.sha256(password(folder, "device", "store").encode()).hexdigest()
    assert f"worker #{digest}" in (folder / "store/users.acl").read_text()


def test_a_worker_listens_to_its_own_rounds_and_speaks_for_itself(folder: Path) -> None:
    assert may(folder, "beijing", "read", rounds_queue("beijing"))
    assert may(folder, "beijing", "write", UPDATES)
    assert may_send(folder, "beijing", UPDATES, update_key("three-cities", "beijing"))
    assert may(folder, "device", "read", rounds_queue("device-12"))
    assert may_send(folder, "device", UPDATES, update_key("three-cities", "device-12"))


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_does_nothing_else(folder: Path, worker: str) -> None:
    # "amq.default" is what the broker calls the nameless exchange where it checks rights.
    everything = [ROUNDS, UPDATES, DEAD, "amq.default", "amq.topic", rounds_queue(IS[worker])]
    everything += [rounds_queue("other"), updates_queue("three-cities")]
    everything += [rounds_queue("device"), rounds_queue("beijing-1")]
    assert not any(may(folder, worker, "configure", each) for each in everything)
    assert [each for each in everything if may(folder, worker, "write", each)] == [UPDATES]
    assert [each for each in everything if may(folder, worker, "read", each)] == [
        rounds_queue(IS[worker])
    ]
    for key in (
        update_key("three-cities", "other"),
        update_key("another", IS[worker]),
        update_key("three-cities", f"{IS[worker]}.x"),
        update_key("three-cities", f"{IS[worker]}x"),
        # Who is many workers has as many places in a buffer.
        update_key("three-cities", f"{IS[worker]}-1"),
        update_key("three-cities", "device"),
    ):
        assert not may_send(folder, worker, UPDATES, key)


def test_the_aggregator_announces_and_consumes_and_declares_nothing(folder: Path) -> None:
    assert may(folder, "aggregator", "write", ROUNDS)
    assert may_send(folder, "aggregator", ROUNDS, round_key("three-cities"))
    assert may(folder, "aggregator", "read", updates_queue("three-cities"))
    assert not may(folder, "aggregator", "configure", updates_queue("three-cities"))
    assert not may(folder, "aggregator", "write", UPDATES)
    assert not may(folder, "aggregator", "read", updates_queue("three-cities2"))


@pytest.mark.parametrize(
    "name", ["device-1", "Beijing", "a.b", "", "x" * 41, "abc-", "-abc", "abc\n"]
)
def test_a_name_that_would_widen_a_pattern_or_that_no_recipe_has_is_refused(
    folder: Path, name: str
) -> None:
    with pytest.raises(SystemExit, match="inner hyphens, not ending in -NUMBER"):
        prepare(folder, ["device", name])


def test_names_are_those_of_recipes() -> None:
    assert f"^{KEYS['NAME']}$" == NAME_PATTERN


@pytest.mark.parametrize("name", ["store", "init", "aggregator", "operator", "rabbitmq"])
def test_a_worker_that_is_called_as_an_audience_gets_no_password_of_others(
    folder: Path, name: str
) -> None:
    before = contents(folder)
    with pytest.raises(SystemExit, match=f"no worker can be called '{name}'.*another name"):
        prepare(folder, [*WORKERS, name])
    assert contents(folder) == before


def test_slots_of_nobody_are_refused(folder: Path) -> None:
    with pytest.raises(SystemExit, match="keys: --slots shanghai: there is no such worker"):
        KEYS["prepare"](folder, TEMPLATE, "three-cities", WORKERS, slots=["shanghai"])


def test_the_shipped_template_is_filled_completely() -> None:
    template = (INFRA / "redis/users.acl.template").read_text()
    filled = KEYS["access_list"](template, dict.fromkeys(("aggregator", "worker", "operator"), "x"))
    assert "$" not in filled
    assert "user default off" in filled
