"""The command line: exit codes that mean something, one line of cause, JSON that parses."""

import errno
import json
import os
import socket
from pathlib import Path
from typing import NoReturn

import pytest
import structlog

from deployment import write_scene
from latecomer.config import load_settings
from latecomer.errors import BadConfiguration, ExitCode
from latecomer.recipe import load_recipe
from latecomer_cli import app, work
from latecomer_worker.fetch import ChunkCache
from latecomer_worker.trainer import Trainer

#: Nothing listens on the discard port of a test machine.
NOBODY = "127.0.0.1:9"


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small recipe in the current folder, and servers that are not there."""
    write_scene(tmp_path, "small", max_staleness=20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATECOMER_BROKER_URL", f"amqp://guest:guest@{NOBODY}/%2F")
    monkeypatch.setenv("LATECOMER_STORE_URL", f"redis://{NOBODY}/0")
    return tmp_path / "recipe.toml"


def demo_recipe(recipe: Path, more: str = "") -> Path:
    text = recipe.read_text() + "\n[demo]\nversions = 6\nlimit_s = 20\nround_s = 0.01\n" + more
    recipe.write_text(text)
    return recipe


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["demo", "--no-such-option"],
        ["recommend", "c1", "c2"],
        ["worker", "recipe.toml"],
        ["init", "no-such-recipe.toml"],
        ["status"],
        ["worker", "recipe.toml", "--name", "nobody"],
        ["recommend", "c1", "-k", "0"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2_and_one_line_of_cause(
    scene: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert app.run(arguments) == ExitCode.BAD_USAGE
    error = capsys.readouterr().err
    assert error.startswith("latecomer: ")
    assert error.count("\n") == 1


def test_an_unknown_key_is_named_with_its_path_and_what_is_allowed(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.write_text(scene.read_text().replace("negatives = 10", "negative = 10"))
    assert app.run(["init", str(scene)]) == ExitCode.BAD_USAGE
    error = capsys.readouterr().err
    assert "training.negative" in error
    assert "did you mean 'negatives'?" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--federation", "small"],
        ["init", "recipe.toml"],
        ["recommend", "c1", "--recipe", "recipe.toml"],
        ["doctor", "--federation", "small"],
    ],
    ids=" ".join,
)
def test_servers_that_do_not_answer_end_with_3(scene: Path, arguments: list[str]) -> None:
    assert app.run(arguments) == ExitCode.UNREACHABLE


def test_memory_is_refused_for_a_process_of_its_own(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_STORE_URL", "memory://")
    assert app.run(["status", "--federation", "small"]) == ExitCode.BAD_USAGE
    assert "lives inside one process" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["redis://[::1", "redis://127.0.0.1/0?foo=1", "redis://127.0.0.1/0?protocol=9"]
)
def test_an_address_that_is_none_is_told_in_a_line(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LATECOMER_STORE_URL", url)
    assert app.run(["status", "--federation", "small"]) == ExitCode.BAD_USAGE
    assert "is not a store's URL" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["amqp://[x", "amqps://x?ssl_options={'cafile':'/nope'}"])
def test_a_broker_whose_address_is_none_is_told_in_a_line(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LATECOMER_BROKER_URL", url)
    assert app.run(["worker", str(scene), "--name", "guest-a"]) == ExitCode.BAD_USAGE
    assert "is not a broker's URL" in capsys.readouterr().err


def test_a_recipe_of_a_thousand_brackets_is_no_recipe(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.write_text(f"x = {'[' * 5000}{']' * 5000}")
    assert app.run(["init", str(scene)]) == ExitCode.BAD_USAGE
    assert "too deep" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_known_before_anything_is_trained(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scene.parent / "file").touch()
    code = app.run(["demo", str(demo_recipe(scene)), "--report", "file/report.json"])
    told = capsys.readouterr()
    assert code == ExitCode.BAD_USAGE
    assert "cannot write the report" in told.err
    assert "version" not in told.out


def test_who_is_interrupted_says_so(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_path: Path, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "load_recipe", interrupted)
    assert app.run(["init", str(scene)]) == app.INTERRUPTED
    assert capsys.readouterr().err == "latecomer: interrupted\n"


def test_the_doctor_says_what_is_wrong_and_how_to_fix_it(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app.run(["doctor", "--format", "json"])
    checks = {each["check"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["python"]["passed"]
    assert not checks["store"]["passed"]
    assert checks["store"]["fix"]


def test_what_the_doctor_asks_for_on_purpose_is_no_news(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app.run(["doctor"])
    structlog.get_logger().warning("broker.refused", reason="its own probe")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["doctor"], ["status", "--federation", "small"]])
def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(
    scene: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.setenv("LATECOMER_STORE_USR", "operator")
    app.run(arguments)
    said = capsys.readouterr().err
    assert "LATECOMER_STORE_USR" in said
    assert "did you mean LATECOMER_STORE_USER?" in said


def test_a_folder_of_secrets_that_is_none_ends_with_2(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_SECRETS_DIR", "no-such-folder")
    assert app.run(["doctor"]) == ExitCode.BAD_USAGE
    assert "LATECOMER_SECRETS_DIR: no-such-folder is no folder" in capsys.readouterr().err


def test_the_demo_ends_with_0_and_writes_its_report(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["demo", str(demo_recipe(scene)), "--format", "json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(Path("runs/demo/report.json").read_text())
    assert report["versions"] >= 6
    assert report["updates"]["refused"] == {}


def test_the_demo_names_the_next_command_last(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app.run(["demo", str(demo_recipe(scene))])
    assert capsys.readouterr().out.splitlines()[-1].startswith("next: ")


def test_the_demo_of_another_seed_says_so(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app.run(["demo", str(demo_recipe(scene)), "--seed", "7", "--format", "json"])
    assert json.loads(capsys.readouterr().out)["seed"] == 7


def test_a_worker_that_fails_ends_the_demo_with_4(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = Trainer.sums

    def failing(trainer: Trainer, model: object) -> object:
        if "c0" in trainer.site.users:
            raise RuntimeError("the disk is full")
        return healthy(trainer, model)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "sums", failing)
    assert app.run(["demo", str(demo_recipe(scene))]) == ExitCode.SOME_WORKERS_FAILED
    assert "the disk is full" in capsys.readouterr().err
    assert Path("runs/demo/report.json").exists()


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("latecomer ")


def test_a_worker_runs_once_per_state_folder(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(state_dir=tmp_path / "state")
    recipe = load_recipe(scene)
    with (
        work.named(settings, recipe, "guest-a", slots=False) as entry,
        pytest.raises(BadConfiguration, match="runs already"),
        work.named(settings, recipe, "guest-a", slots=False),
    ):
        pytest.fail("the second one got the name too")
    assert entry.name == "guest-a"
    assert (tmp_path / "state" / "guest-a.lock").read_text() == f"{socket.gethostname()}\n"


def test_a_worker_starts_on_a_disk_that_is_full(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock holds whatever can be written into it."""

    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    settings = load_settings(state_dir=tmp_path / "state")
    with work.named(settings, load_recipe(scene), "guest-a", slots=False) as entry:
        assert entry.name == "guest-a"


def test_a_lock_that_cannot_be_kept_is_told_in_a_line(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state" / "guest-a.lock").mkdir(parents=True)
    assert app.run(["worker", str(scene), "--name", "guest-a"]) == ExitCode.BAD_USAGE
    assert "guest-a.lock: Is a directory; set LATECOMER_STATE_DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["evaluate", "recipe.toml", "--seeds", "0"], "--seeds"),
        (["demo", "recipe.toml", "--seed", "x"], "--seed"),
        (["worker", "recipe.toml"], "--name"),
        (["worker", "recipe.toml", "--name", "anna", "--save", "update.npz"], "--save"),
    ],
)
def test_a_wrong_or_missing_option_is_named(
    scene: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert app.run(arguments) == ExitCode.BAD_USAGE
    assert named in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_made_is_a_wrong_setting(scene: Path) -> None:
    settings = load_settings(state_dir=scene / "state")
    with (
        pytest.raises(BadConfiguration, match="cannot keep anything in"),
        work.named(settings, load_recipe(scene), "guest-a", slots=False),
    ):
        pytest.fail("a recipe is no folder")
    with pytest.raises(BadConfiguration, match="cannot keep chunks in"):
        ChunkCache(scene / "chunks")
    with pytest.raises(BadConfiguration, match="cannot keep chunks in"):
        ChunkCache(Path("/proc"))  # a folder where not even root makes a file


@pytest.mark.parametrize("command", ["demo", "simulate"])
def test_a_job_that_made_no_version_failed(
    scene: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    recipe = demo_recipe(scene)
    limits = "[aggregation]\nmax_update_norm = 1e-9\n"
    text = recipe.read_text().replace("[aggregation]\n", limits)
    recipe.write_text(
        text.replace("limit_s = 20", "limit_s = 2").replace("versions = 6", "versions = 1")
    )
    assert app.run([command, str(recipe)]) == ExitCode.JOB_FAILED
    assert "no version was made; refused: " in capsys.readouterr().err


def test_where_nobody_takes_part_there_is_nothing_to_show(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.write_text(scene.read_text().partition("[[fleet")[0])
    assert app.run(["demo", str(scene)]) == ExitCode.BAD_USAGE
    assert "no user of any worker can be tested" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 71 PiB"),
        RuntimeError("err == 0. DefaultCPUAllocator: can't allocate memory\nException raised from"),
    ],
    ids=["numpy", "torch"],
)
def test_too_little_memory_is_one_line(
    scene: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def load(_path: Path, **_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(app, "load_recipe", load)
    assert app.run(["init", str(scene)]) == ExitCode.JOB_FAILED
    said = capsys.readouterr().err
    assert said.startswith("latecomer: out of memory: ")
    assert said.count("\n") <= 2
    assert "a smaller model" in said


def test_another_error_of_torch_is_a_bug_and_shows_where(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_path: Path, **_: object) -> NoReturn:
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(app, "load_recipe", load)
    with pytest.raises(RuntimeError, match="size mismatch"):
        app.run(["init", str(scene)])
