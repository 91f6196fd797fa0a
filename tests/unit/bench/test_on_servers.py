"""What the benchmarks over real servers say and refuse, without a server."""

from pathlib import Path

import pytest

from latecomer.errors import BadConfiguration, ExitCode
from latecomer.recipe import load_recipe
from latecomer_bench import cold_start, pipeline, service
from latecomer_cli import app


def test_a_ratio_is_the_median_of_the_turns_own_ratios() -> None:
    row = pipeline.Row(10_000, (100.0, 300.0, 200.0), (400.0, 400.0, 200.0)).as_dict()
    assert (row["updates_per_s"], row["bare_per_s"]) == (200.0, 400.0)
    assert (row["ratio_low"], row["ratio"], row["ratio_high"]) == (0.25, 0.75, 1.0)


def test_a_turn_fits_into_the_queue() -> None:
    messages = [versions * pipeline.K for versions in pipeline.SIZES.values()]
    assert max(messages) < 20_000
    assert min(pipeline.SIZES.values()) > 2 * pipeline.MARGIN


@pytest.mark.parametrize("command", ["pipeline", "memory", "cold-start"])
def test_memory_is_no_server_to_measure(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATECOMER_BROKER_URL", "memory://")
    monkeypatch.setenv("LATECOMER_STORE_URL", "memory://")
    assert app.run(["bench", command]) == ExitCode.BAD_USAGE
    assert "lives inside one process" in capsys.readouterr().err


def test_servers_that_do_not_answer_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--broker-url", "amqp://127.0.0.1:9/%2F", "--store-url", "redis://127.0.0.1:9/0"]
    assert app.run(["bench", "pipeline", *arguments]) == ExitCode.UNREACHABLE
    assert "the store at 127.0.0.1:9 does not answer" in capsys.readouterr().err


def test_the_scene_of_a_cold_start_is_a_recipe_with_one_worker(tmp_path: Path) -> None:
    recipe = load_recipe(Path(cold_start.write_scene(tmp_path, "bench-1", seed=1)))
    assert (recipe.federation, recipe.fleet.names()) == ("bench-1", ["first"])
    assert recipe.aggregation.updates_per_version == 1


def test_memory_needs_a_kernel_that_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STATUS", tmp_path)

    class Process:
        pid = 1

    with pytest.raises(BadConfiguration, match="is missing"):
        service.resident_mb(Process())  # type: ignore[arg-type]
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "status").write_text("Name:\tlatecomer\nVmRSS:\t   73216 kB\n")
    assert service.resident_mb(Process()) == 71.5  # type: ignore[arg-type]
