"""Peers of `bench stragglers`: our clients in their hands, what they print, and their absence."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latecomer.tensors import Array
from latecomer_bench import peers, stragglers
from latecomer_bench.clients import Job, Judge
from latecomer_bench.runs import Run
from latecomer_simulator import fleet
from latecomer_worker import encode
from scenes import ITEM_CATALOGUE, checkerboard, make_recipe, make_site

SITES = {f"w{number}": make_site(checkerboard(6, first=6 * number)) for number in range(4)}
FIRST = {"seconds": 40.0, "reached": True, "trained": 10, "staleness": 1.5, "refused": 0}
SECOND = FIRST | {"seconds": 80.0, "trained": 20}
needs_peers = pytest.mark.skipif(not peers.python().exists(), reason="no peers here; make peers")


def make_job(**simulation: Any) -> Job:
    recipe = make_recipe()
    simulated = stragglers.DEVICES.model_copy(update=simulation)
    recipe = recipe.model_copy(update={"simulation": simulated})
    return Job(recipe, SITES, len(ITEM_CATALOGUE), 3, target=2.0, updates=8, evaluated_every=1)


def printed(
    run: dict[str, Any], name: str = "flgo-fedbuff", rate: float = 1.0, at_once: int = 20
) -> dict[str, Any]:
    line = {"peer": name, "at_once": at_once, "settings": {"rate": rate}}
    return {"version": "9.9", "runs": [line | run]}


def test_a_client_does_the_same_here_as_in_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    job, coded = make_job(), encode.coded
    sent: dict[int, Any] = {}

    def watched(snapshot: Any, trained: Any, state: Any) -> Any:
        sent.setdefault(id(state), trained.model)
        return coded(snapshot, trained, state)

    monkeypatch.setattr(encode, "coded", watched)
    limits = fleet.Limits(updates=4)
    outcome = fleet.run(job.recipe, SITES, ITEM_CATALOGUE, seed=job.seed, limits=limits)
    published = {
        each["worker"]: each["t_s"] for each in outcome.events if each["event"] == "published"
    }
    answers = [client.train(job.initial(), 0.0) for client in job.clients()]
    arrived = dict(zip(SITES, (each.arrives_s for each in answers), strict=True))
    assert len(sent) == len(answers)
    for answer in answers:
        assert any(_same(answer.model, model) for model in sent.values())
    assert arrived == pytest.approx(published, abs=0.5)


def _same(a: Any, b: Any) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in b)


def test_who_is_done_while_offline_hands_in_when_it_is_back() -> None:
    job = make_job(latency_s=0.0, network_spread=0.0)
    client = job.clients()[0]
    (_, left_s), (back_s, _) = client._window(0.0), client._window(client._window(0.0)[1])
    up_s = 5e5 / client.profile.up_bytes_per_s
    assert client._handed_in_s(left_s - 2.0, 500_000) == pytest.approx(left_s - 2.0 + up_s)
    assert client._handed_in_s(left_s - 0.5, 500_000) == pytest.approx(back_s + up_s)
    assert client._handed_in_s(left_s + 9.0, 500_000) == pytest.approx(back_s + up_s)
    assert client.online(left_s - 1.0)
    assert not client.online(left_s + 1.0)


def test_a_run_ends_with_the_first_look_that_reaches_the_target() -> None:
    job = make_job()
    judge = Judge(job, job.clients())
    assert judge.look(job.initial(), 5.0) < job.target
    assert judge.result(7.0, 3) == {
        "seconds": 7.0,
        "reached": False,
        "trained": 3,
        "staleness": 0.0,
        "refused": 0,
    }
    judge.reached_s = 6.0
    assert judge.result(7.0, 3)["seconds"] == 6.0


def test_runs_of_a_setting_are_gathered_over_seeds_and_paired_with_ours() -> None:
    (peer,) = peers.gathered([printed(FIRST), printed(SECOND)])
    ours = [Run(20.0, True, 1, 0.0, 0), Run(20.0, True, 1, 0.0, 0)]
    found = peer.as_dict(ours)
    assert (peer.name, found["version"], found["settings"]) == ("flgo-fedbuff", "9.9", {"rate": 1})
    assert found["seconds"]["mean"] == 60.0
    assert found["speedup"]["mean"] == 2.83  # the root of 2 x 4
    assert (found["reached"], found["trained"], found["staleness"]) == ("2/2", 15.0, 1.5)


def test_of_a_sweep_the_setting_chosen_beforehand_counts_not_the_quickest_here() -> None:
    found = [
        *peers.gathered([printed(SECOND, rate=2.0)]),
        *peers.gathered([printed(SECOND, "flgo-fedasync", rate=4.0)]),
        *peers.gathered([printed(FIRST, rate=3.0)]),
        *peers.gathered([printed(FIRST, rate=5.0, at_once=40)]),
    ]
    rates = {name: peer.settings["rate"] for name, peer in peers.chosen(found).items()}
    assert rates == {"flgo-fedbuff": 2.0, "flgo-fedasync": 4.0, "flgo-fedbuff, 40 at once": 5.0}


def test_without_their_environment_there_are_no_peers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peers, "PEERS", tmp_path)
    assert peers.processes(5) == 0
    assert peers.measure([make_job()], lambda: None) == []


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A peer's script for this interpreter."""
    monkeypatch.setattr(peers, "PEERS", tmp_path)
    monkeypatch.setattr(peers, "SCRIPTS", ("pretend.py",))
    monkeypatch.setattr(peers, "python", lambda: Path(sys.executable))
    return tmp_path / "pretend.py"


def test_a_script_is_given_the_job_and_its_last_line_is_read(pretend: Path) -> None:
    pretend.write_text(
        "import json, pickle, sys\n"
        "job = pickle.load(sys.stdin.buffer)\n"
        "print('chatter')\n"
        f"run = {FIRST!r} | {{'peer': 'p', 'at_once': 4, 'settings': {{}}}}\n"
        "run['seconds'] = float(job.seed)\n"
        "print(json.dumps({'version': '1', 'runs': [run]}))\n",
        encoding="utf-8",
    )
    steps: list[None] = []
    (peer,) = peers.measure([make_job()], lambda: steps.append(None))
    assert peer.runs[0].seconds == 3.0
    assert len(steps) == peers.processes(1) == 1


def test_a_script_that_fails_is_one_line_with_its_last_words(pretend: Path) -> None:
    pretend.write_text("raise RuntimeError('no such strategy')\n", encoding="utf-8")
    with pytest.raises(peers.PeerFailed, match=r"pretend.py: RuntimeError: no such strategy"):
        peers.measure([make_job()], lambda: None)


def models_of(script: str, settings: str, job: Job) -> list[dict[str, Array]]:
    """In the peers' environment, the models that a run is judged by, first to last."""
    code = (
        "import logging, pickle, sys\n"
        f"sys.path.insert(0, {str(peers.PEERS)!r})\n"
        f"import {script} as script\n"
        "from latecomer_bench.clients import Judge\n"
        "logging.disable(logging.CRITICAL)\n"
        "models = []\n"
        "Judge.look = lambda self, model, now_s: models.append(dict(model))\n"
        f"script.run(pickle.load(sys.stdin.buffer), script.Settings({settings}))\n"
        "sys.stderr.buffer.write(b'@@' + pickle.dumps(models))\n"
    )
    done = subprocess.run(
        [peers.python(), "-c", code],
        input=pickle.dumps(job),
        capture_output=True,
        check=True,
        env=peers.surroundings(),
    )
    models: list[dict[str, Array]] = pickle.loads(done.stderr.split(b"@@", 1)[1])
    return models


def moved(job: Job, weights: list[float], rate: float) -> dict[str, Array]:
    """The initial model, plus rate times the weighted sum of everybody's delta."""
    base = job.initial()
    found = [client.train(base, 0.0).model for client in job.clients()]
    pairs = list(zip(weights, found, strict=True))
    return {
        name: base[name]
        + rate * sum(weight * (model[name] - base[name]) for weight, model in pairs)
        for name in base
    }


@needs_peers
@pytest.mark.parametrize(
    ("script", "settings", "by_examples"),
    [
        ("flgo_stragglers", "'fedbuff', 4, 4, 1.5", False),
        ("flower_stragglers", "4, 3600.0, 1.5", True),
    ],
)
def test_a_peer_that_waits_for_everybody_averages_as_federated_averaging_does(
    script: str, settings: str, by_examples: bool
) -> None:
    job = make_job(availability="always")
    examples = [client.train(job.initial(), 0.0).examples for client in job.clients()]
    assert len(set(examples)) > 1
    weights = [each / sum(examples) for each in examples] if by_examples else [0.25] * 4
    first, second, *_ = models_of(script, settings, job)
    expected = moved(job, weights, rate=1.5)
    for name, initial in job.initial().items():
        np.testing.assert_array_equal(first[name], initial)
        np.testing.assert_allclose(second[name], expected[name], rtol=1e-4, atol=1e-5)
        assert not np.array_equal(first[name], second[name])


@needs_peers
def test_alone_fedasync_mixes_what_it_is_sent_into_the_model() -> None:
    job = make_job(availability="always")
    alone = replace(job, sites={"w0": SITES["w0"]})
    first, second, *_ = models_of("flgo_stragglers", "'fedasync', 1, 1, 0.4", alone)
    expected = moved(alone, [1.0], rate=0.4)
    for name in first:
        np.testing.assert_allclose(second[name], expected[name], rtol=1e-4, atol=1e-5)
