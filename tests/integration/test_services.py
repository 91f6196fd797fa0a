"""The services as processes over real servers: founding, failover, garbage, crashes, stopping."""

import json
import uuid
from pathlib import Path

import numpy as np
import pika
import pytest
import redis
from pika.adapters.blocking_connection import BlockingChannel

from broker_scene import purge
from deployment import PATIENCE_S, Deployment
from latecomer import wire
from latecomer.broker.topology import DEAD, UPDATES, update_key
from latecomer.events import UpdateSubmitted, Version
from latecomer.recipe import load_recipe
from latecomer.recommenders.families import family
from latecomer.tensors import TensorDelta
from server import eventually

pytestmark = pytest.mark.timeout(300)


def test_the_leader_is_killed_and_the_standby_goes_on(deployed: Deployment) -> None:
    workers = ("guest-a", "guest-b", "guest-c")
    deployed.start("first", "aggregator")
    for worker in workers:
        deployed.start_worker(worker)
    before = deployed.await_version(2)
    deployed.start("second", "aggregator")
    deployed.kill("first")
    after = deployed.await_version(before["number"] + 3)
    assert after["leader"] != before["leader"]
    assert after["fence"] > before["fence"]
    eventually(
        # Who is slow to start may not have had a part in the versions so far.
        lambda: {each["worker"] for each in deployed.status()["workers"]} == {*workers},
        within_s=PATIENCE_S,
    )
    assert deployed.stop() == dict.fromkeys(("second", *workers), 0)


def test_a_standby_whose_login_is_refused_says_so_at_once(deployed: Deployment) -> None:
    deployed.start("leader", "aggregator")
    eventually(lambda: deployed.status()["leader"] is not None, within_s=PATIENCE_S)
    url = deployed.pair.broker.url.replace(":guest@", ":misspelt@")
    done = deployed.call("aggregator", LATECOMER_BROKER_URL=url)
    assert done.returncode == 2, done.stderr
    assert "refused" in done.stderr


def test_a_worker_killed_with_9_loses_nothing_and_comes_back(deployed: Deployment) -> None:
    deployed.start("leader", "aggregator")
    deployed.start_worker("guest-a")
    deployed.await_version(2)
    deployed.kill("guest-a")
    deployed.start_worker("guest-a")
    found = deployed.await_version(deployed.status()["number"] + 2)
    assert found["updates"]["refused"] == {}


def test_garbage_is_buried_or_refused_by_name_and_versions_go_on(deployed: Deployment) -> None:
    deployed.start("leader", "aggregator")
    deployed.start_worker("guest-a")
    version = _version(deployed.await_version(1)["version"])
    with pika.BlockingConnection(pika.URLParameters(deployed.pair.broker.url)) as connection:
        channel = connection.channel()
        buried = _depth(channel, DEAD)
        for body in _garbage(deployed, version):
            channel.basic_publish(
                UPDATES,
                update_key(deployed.federation, "guest-b"),
                body,
                pika.BasicProperties(user_id="guest", delivery_mode=2),
            )
        expected = {
            "undecodable": 3,
            "bad_shape": 1,
            "not_finite": 1,
            "forged_worker": 1,
            "unknown_federation": 1,
            "wrong_epoch": 1,
            "future_version": 1,
        }
        eventually(
            lambda: deployed.status()["updates"]["refused"] == expected,
            within_s=60.0,
            what=f"{expected}",
        )
        hostile = 7
        eventually(lambda: _depth(channel, DEAD) == buried + hostile, within_s=30.0)
    deployed.await_version(deployed.status()["number"] + 2)


def test_a_replayed_update_counts_once(deployed: Deployment) -> None:
    deployed.start("leader", "aggregator")
    version = _version(deployed.status()["version"])
    body = _update(deployed, version)
    with pika.BlockingConnection(pika.URLParameters(deployed.pair.broker.url)) as connection:
        channel = connection.channel()

        def publish() -> None:
            key = update_key(deployed.federation, "guest-b")
            channel.basic_publish(UPDATES, key, body, pika.BasicProperties(user_id="guest"))

        publish()
        deployed.await_version(1)
        publish()
        eventually(lambda: deployed.status()["updates"]["duplicates"] == 1, within_s=60.0)
    assert deployed.status()["updates"]["accepted"] == 1


def test_recommendations_leave_out_what_the_customer_has(deployed: Deployment) -> None:
    deployed.start("leader", "aggregator")
    deployed.start_worker("guest-a")
    deployed.await_version(2)
    recipe = ("--recipe", deployed.recipe, "--format", "json")
    found = json.loads(deployed.call("recommend", "c2", "-k", "5", *recipe).stdout)
    purchases = (deployed.folder / "purchases.csv").read_text()
    assert len(found["items"]) == 5
    assert not any(f"c2,{each['item']}," in purchases for each in found["items"])
    lines = deployed.call("recommend", "--everybody", "-k", "5", *recipe).stdout.splitlines()
    everybody = {each["user"]: each["items"] for each in map(json.loads, lines)}
    assert "c2" in everybody
    for user, items in everybody.items():
        assert len(items) == 5
        assert not any(f"{user},{each['item']}," in purchases for each in items)


def test_a_dry_run_that_has_nothing_to_send_says_so(deployed: Deployment) -> None:
    (deployed.folder / "one.csv").write_text("customer,item,time\nc0,item-1,2024-01-01\n")
    own = ("--data", str(deployed.folder / "one.csv"))
    done = deployed.call("worker", deployed.recipe, "--name", "guest-a", "--dry-run", *own)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("latecomer: guest-a has nothing to send to version")


def test_the_doctor_passes_a_healthy_deployment(deployed: Deployment) -> None:
    done = deployed.call("doctor", "--format", "json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["passed"] is True


def test_the_doctor_says_that_an_alarm_holds_publishers_up(deployed: Deployment) -> None:
    broker = deployed.pair.broker
    if not broker.ours:
        pytest.skip("somebody else's broker")
    broker.raise_alarm("memory")
    try:
        done = deployed.call("doctor", "--format", "json")
    finally:
        broker.clear_alarm("memory")
    failed = [each for each in json.loads(done.stdout)["checks"] if not each["passed"]]
    assert [each["check"] for each in failed] == ["publishing"]
    assert "blocks publishers" in failed[0]["problem"]
    assert done.returncode == 1


def test_the_doctor_tells_of_updates_that_were_buried(deployed: Deployment) -> None:
    url = deployed.pair.broker.url
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(DEAD, update_key(deployed.federation, "guest-a"), b"buried")
    try:
        done = deployed.call("doctor", "--format", "json")
    finally:
        purge(url, DEAD)
    failed = [each for each in json.loads(done.stdout)["checks"] if not each["passed"]]
    assert [each["check"] for each in failed] == ["dead letters"]
    assert failed[0]["problem"] == "1 in latecomer.dead"
    assert "Dead letters" in failed[0]["fix"]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("setting", "value", "usually", "checks", "problem", "code"),
    [
        ("maxmemory", "1", "0", ["store memory"], "is full", 3),
        (
            "maxmemory-policy",
            "allkeys-lru",
            "noeviction",
            ["durability", "store memory"],
            "forgets what was counted",
            2,
        ),
        ("appendonly", "no", "yes", ["durability"], "nothing survives a restart", 2),
    ],
)
def test_the_doctor_says_that_the_store_is_full_or_forgets(
    deployed: Deployment,
    setting: str,
    value: str,
    usually: str,
    checks: list[str],
    problem: str,
    code: int,
) -> None:
    store = deployed.pair.store
    if not store.ours:
        pytest.skip("somebody else's store")
    with redis.Redis.from_url(store.url) as raw:
        raw.config_set(setting, value)
        try:
            done = deployed.call("doctor", "--format", "json")
        finally:
            raw.config_set(setting, usually)
    failed = [each for each in json.loads(done.stdout)["checks"] if not each["passed"]]
    assert [each["check"] for each in failed] == checks
    assert problem in failed[0]["problem"]
    assert done.returncode == code


def test_the_doctor_leaves_no_queue_behind_for_a_misspelt_name(deployed: Deployment) -> None:
    for _ in range(2):
        done = deployed.call("doctor", "--federation", "misspelt", "--format", "json")
        checks = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
        assert checks["updates queue"]["problem"] == "there is no queue latecomer.updates.misspelt"
        assert "broker rights" not in checks


def test_the_status_command_prints_what_the_store_knows(deployed: Deployment) -> None:
    done = deployed.call("status", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["version"] == deployed.status()["version"]


def test_founding_twice_changes_nothing(deployed: Deployment) -> None:
    before = deployed.status()["version"]
    again = deployed.call("init", deployed.recipe, "--format", "json")
    assert json.loads(again.stdout)["existed"] is True
    assert deployed.status()["version"] == before


def test_what_has_no_effect_keeps_nobody_from_going_on_but_from_founding(
    deployed: Deployment,
) -> None:
    recipe = Path(deployed.recipe)
    recipe.write_text(recipe.read_text() + "[personal]\nrounds = 3\n")
    assert deployed.call("init", deployed.recipe).returncode == 0
    refused = deployed.call("init", deployed.recipe, "--new-epoch")
    assert refused.returncode == 2
    assert "personal: rounds: without effect without weights" in refused.stderr


def _depth(channel: BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def _version(text: str) -> Version:
    epoch, number = text.split(".")
    return Version(int(epoch), int(number))


def _garbage(deployed: Deployment, version: Version) -> list[bytes]:
    honest = _update(deployed, version)
    nan = np.full((1, 8), np.nan, np.float32)
    return [
        b"\x00not msgpack",
        honest[: len(honest) // 2],
        bytes(13 * 1024 * 1024),
        _update(deployed, version, values=np.ones((1, 9), np.float32)),
        _update(deployed, version, values=nan),
        _update(deployed, version, worker="guest-c"),
        _update(deployed, version, federation="elsewhere"),
        _update(deployed, Version(version.epoch - 1, 0)),
        _update(deployed, Version(version.epoch, version.number + 1000)),
    ]


def _update(
    deployed: Deployment,
    base: Version,
    *,
    values: "np.ndarray[tuple[int, int], np.dtype[np.float32]] | None" = None,
    worker: str = "guest-b",
    federation: str | None = None,
) -> bytes:
    """An update as an outsider would write it, from the layout's digest and the recipe alone."""
    layout = family(load_recipe(Path(deployed.recipe)).model).layout(40)
    return wire.encode_update(
        UpdateSubmitted(
            federation=federation or deployed.federation,
            worker=worker,
            update_id=f"{worker}:{uuid.uuid4().hex[:8]}:1",
            base=base,
            layout=layout.digest,
            examples=1,
            steps=1,
            delta={
                "item.factors": TensorDelta(
                    np.ones((1, 8), np.float32) if values is None else values,
                    np.array([0], np.uint32),
                )
            },
        )
    ).body
