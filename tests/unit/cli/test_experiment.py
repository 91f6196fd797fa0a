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
        treated = arm("spring", str(number), site=site) == "treatment"
        if treated and lost and number % 2:
            continue
        lines.append(f"{number},{int(number % 4 < (3 if treated else 2))}")
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
    asked = ["experiment", "assign", "spring", "--site", "beijing"]
    assert app.run([*asked, "17850", "13047"]) == ExitCode.OK
    assert capsys.readouterr().out == "treatment  17850\ncontrol    13047\n"
    monkeypatch.setattr("sys.stdin", StringIO("13047\n\n17850\n"))
    assert app.run([*asked, "--format", "json"]) == ExitCode.OK
    arms = json.loads(capsys.readouterr().out)["arms"]
    assert arms == {"13047": "control", "17850": "treatment"}


def test_an_id_is_shown_as_it_was_asked_and_as_often(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["[bold]:smile:", "x" * 300, "x" * 300]
    assert app.run(["experiment", "assign", "spring", "--site", "beijing", *asked]) == ExitCode.OK
    assert [line[11:] for line in capsys.readouterr().out.splitlines()] == asked


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["spring", "1"], "every site draws its own lots, and none is named; --site NAME"),
        (["", "1", "--site", "beijing"], "no name of an experiment: ''"),
        (["spring", "1", "--site", ""], "no name of a site: ''"),
        (["spring", " ", "--site", "beijing"], "no id of a user: ' '"),
    ],
)
def test_who_asks_without_names_is_told_what_is_missing(
    capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    assert app.run(["experiment", "assign", *arguments]) == ExitCode.BAD_USAGE
    assert why in capsys.readouterr().err


def test_where_ids_are_shared_an_arm_is_the_same_at_every_site(
    capsys: pytest.CaptureFixture[str],
) -> None:
    users = [str(number) for number in range(20)]
    said = set()
    for more in ([], ["--site", "beijing"], ["--site", "shanghai"]):
        arguments = ["experiment", "assign", "spring", *users, "--shared-ids", *more]
        assert app.run(arguments) == ExitCode.OK
        said.add(capsys.readouterr().out)
    assert len(said) == 1


def shared(folder: Path, capsys: pytest.CaptureFixture[str], site: str, users: range) -> str:
    """The file of a site whose customers shop elsewhere, too: every other one buys."""
    data = folder / f"{site}.csv"
    rows = [f"{number},{number % 2}" for number in users]
    data.write_text("\n".join(["customer,bought", *rows]), encoding="utf-8")
    arguments = ["spring", "--data", str(data), "--site", site, "--user", "customer"]
    arguments += ["--metric", "bought", "--shared-ids", "--format", "json"]
    assert app.run(["experiment", "count", *arguments]) == ExitCode.OK
    path = folder / f"{site}.json"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    return str(path)


def test_where_people_are_at_several_sites_their_lots_are_judged_site_by_site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of these a lot may well treat as many at one site; thirty times the same lot is no 30 lots.
    files = [shared(tmp_path, capsys, f"site-{number}", range(1200, 1500)) for number in range(30)]
    assert app.run(["experiment", "compare", *files, "--format", "json"]) == ExitCode.OK
    mismatch = json.loads(capsys.readouterr().out)["mismatch"]
    assert mismatch["site-0"] > 0.001 > mismatch["all"]


def test_shared_ids_and_own_ones_are_not_added_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [counted(tmp_path, capsys, "beijing"), shared(tmp_path, capsys, "paris", range(200))]
    assert app.run(["experiment", "compare", *files]) == ExitCode.BAD_USAGE
    assert "beijing and paris differ in shared ids: False and True" in capsys.readouterr().err


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
    files = [counted(tmp_path, capsys, "beijing"), counted(tmp_path, capsys, "lyon", lost=True)]
    assert app.run(["experiment", "compare", *files]) == ExitCode.JOB_FAILED
    captured = capsys.readouterr()
    assert "no lot makes arms of such sizes: lyon" in captured.err
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
    data = served(tmp_path, "beijing")
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
    said = capsys.readouterr().err
    assert "rows of" in said
    assert "'control', who is in the treatment; were arms assigned under another name" in said


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
