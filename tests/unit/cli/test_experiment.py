"""``latecomer experiment``: arms, each site's sums, and what a treatment did, by files alone."""

import json
from io import StringIO
from pathlib import Path

import pytest

from latecomer.errors import ExitCode
from latecomer.experiments.assignment import arm
from latecomer_cli import app


def served(folder: Path, site: str, *, users: int = 200, lost: bool = False) -> Path:
    """Every second customer of the control buys, and three of four of the treatment."""
    path = folder / f"{site}.csv"
    lines = ["customer,bought"]
    for number in range(users):
        treated = arm("spring", f"{site}-{number}") == "treatment"
        if treated and lost and number % 2:
            continue
        lines.append(f"{site}-{number},{int(number % 4 < (3 if treated else 2))}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def counted(
    folder: Path, capsys: pytest.CaptureFixture[str], site: str, *more: str, lost: bool = False
) -> str:
    """The file that a site hands over."""
    data = served(folder, site, lost=lost)
    arguments = ["spring", "--data", str(data), "--site", site, "--user", "customer"]
    arguments += ["--metric", "bought", "--format", "json", *more]
    assert app.run(["experiment", "count", *arguments]) == ExitCode.OK
    path = folder / f"{site}.json"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    return str(path)


def test_everybody_is_told_his_arm(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.run(["experiment", "assign", "spring", "17850", "13047"]) == ExitCode.OK
    assert capsys.readouterr().out == "control    17850\ntreatment  13047\n"
    monkeypatch.setattr("sys.stdin", StringIO("13047\n\n17850\n"))
    assert app.run(["experiment", "assign", "spring", "--format", "json"]) == ExitCode.OK
    arms = json.loads(capsys.readouterr().out)["arms"]
    assert arms == {"13047": "treatment", "17850": "control"}


def test_two_sites_together_tell_what_the_treatment_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [counted(tmp_path, capsys, site) for site in ("beijing", "shanghai")]
    assert app.run(["experiment", "compare", *files, "--format", "json"]) == ExitCode.OK
    body = json.loads(capsys.readouterr().out)
    assert body["sites"] == ["beijing", "shanghai"]
    found = body["metrics"]["bought"]
    assert found.keys() == {"beijing", "shanghai", "all"}
    assert found["all"]["control"]["value"] == pytest.approx(0.5, abs=0.1)
    assert found["all"]["treatment"]["value"] == pytest.approx(0.75, abs=0.1)
    assert found["all"]["low"] > 0
    arms = [found[site]["control"]["users"] for site in ("beijing", "shanghai")]
    assert found["all"]["control"]["users"] == sum(arms)
    assert found["all"]["detectable"] < found["beijing"]["detectable"]
    assert all(p > 0.001 for p in body["mismatch"].values())


def test_people_see_a_line_per_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [counted(tmp_path, capsys, site) for site in ("beijing", "shanghai")]
    assert app.run(["experiment", "compare", *files]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "spring: bought" in out
    assert all(name in out for name in ("beijing", "shanghai", "all"))
    assert "95 % intervals, per user" in out


def test_arms_that_no_lot_makes_end_with_1_and_say_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [counted(tmp_path, capsys, "beijing"), counted(tmp_path, capsys, "paris", lost=True)]
    assert app.run(["experiment", "compare", *files]) == ExitCode.JOB_FAILED
    captured = capsys.readouterr()
    assert "no lot makes arms of such sizes: paris" in captured.err
    assert "spring: bought" in captured.out  # what there is, is shown all the same


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--share", "0.4"), "beijing and shanghai differ in share: 0.5 and 0.4"),
        (("--per", "row"), "beijing and shanghai differ in per: user and row"),
    ],
)
def test_sites_that_counted_otherwise_are_not_added_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], why: str
) -> None:
    files = [
        counted(tmp_path, capsys, "beijing"),
        counted(tmp_path, capsys, "shanghai", *more),
    ]
    assert app.run(["experiment", "compare", *files]) == ExitCode.BAD_USAGE
    assert why in capsys.readouterr().err


def test_sites_that_counted_other_metrics_are_not_added_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [Path(counted(tmp_path, capsys, site)) for site in ("beijing", "shanghai")]
    files[1].write_text(files[1].read_text().replace('"bought"', '"paid"'))
    assert app.run(["experiment", "compare", *map(str, files)]) == ExitCode.BAD_USAGE
    assert "beijing counted bought, shanghai paid" in capsys.readouterr().err


def test_a_metric_that_is_named_twice_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path(counted(tmp_path, capsys, "beijing")).read_text()
    assert Path(counted(tmp_path, capsys, "beijing", "--metric", "bought")).read_text() == before


def test_nobodys_users_count_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = counted(tmp_path, capsys, "beijing")
    assert app.run(["experiment", "compare", file, file]) == ExitCode.BAD_USAGE
    assert "beijing is there twice" in capsys.readouterr().err


def test_no_site_is_called_as_all_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = served(tmp_path, "all")
    arguments = ["spring", "--data", str(data), "--site", "all", "--user", "customer"]
    assert app.run(["experiment", "count", *arguments, "--metric", "bought"]) == ExitCode.BAD_USAGE
    assert "'all'" in capsys.readouterr().err


def test_a_log_that_tells_of_another_arm_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = served(tmp_path, "beijing").read_text().splitlines()
    said = [f"{line},{'arm' if number == 0 else 'control'}" for number, line in enumerate(lines)]
    data = tmp_path / "served.csv"
    data.write_text("\n".join(said))
    arguments = ["spring", "--data", str(data), "--site", "beijing", "--user", "customer"]
    arguments += ["--metric", "bought", "--arm", "arm"]
    assert app.run(["experiment", "count", *arguments]) == ExitCode.BAD_USAGE
    assert "the user is in the treatment; is it the experiment's name" in capsys.readouterr().err


def test_what_was_not_counted_is_told_beside_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = served(tmp_path, "beijing")
    data.write_text(data.read_text() + "\n,1\n")
    arguments = ["spring", "--data", str(data), "--site", "beijing", "--user", "customer"]
    arguments += ["--metric", "bought", "--format", "json"]
    assert app.run(["experiment", "count", *arguments]) == ExitCode.OK
    captured = capsys.readouterr()
    assert json.loads(captured.out)["site"] == "beijing"
    assert "200 of 201 rows kept, 1 missing_user" in captured.err
