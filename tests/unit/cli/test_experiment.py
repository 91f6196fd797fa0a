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
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    site: str,
    *more: str,
    lost: bool = False,
    extra: str = "",
) -> str:
    """The file that a site hands over, with some more rows in its log."""
    data = served(folder, site, lost=lost)
    data.write_text(data.read_text() + extra)
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
    told = capsys.readouterr().err
    assert "rows of" in told
    assert "'control' of one in the treatment; were arms assigned under another name" in told


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


def test_of_every_site_it_is_told_how_many_rows_were_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        counted(tmp_path, capsys, "beijing"),
        counted(tmp_path, capsys, "lyon", extra="\n1,yes\n2,no\n,1\n"),
    ]
    assert app.run(["experiment", "compare", *files]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "lyon: of 203 rows dropped: 2 not_a_number, 1 missing_user" in out
    assert "beijing: of" not in out
    assert app.run(["experiment", "compare", *files, "--format", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["rows"] == {
        "beijing": {"read": 200, "dropped": {}},
        "lyon": {"read": 203, "dropped": {"not_a_number": 2, "missing_user": 1}},
    }


def rare(folder: Path, buyers: int) -> list[str]:
    """A log of 400 customers of whom some buy for a little each, and how to count it."""
    path = folder / "rare.csv"
    rows = [f"{number},{0.00012345 * (number < buyers)}" for number in range(400)]
    path.write_text("\n".join(["customer,paid", *rows]), encoding="utf-8")
    arguments = ["experiment", "count", "spring", "--data", str(path), "--site", "beijing"]
    return [*arguments, "--user", "customer", "--metric", "paid"]


def test_where_too_few_matter_there_is_no_interval_and_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run([*rare(tmp_path, 18), "--format", "json"]) == ExitCode.OK
    file = tmp_path / "beijing.json"
    file.write_text(capsys.readouterr().out)
    assert app.run(["experiment", "compare", str(file), "--format", "json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)["metrics"]["paid"]["all"]
    assert found["low"] is found["high"] is found["detectable"] is None
    assert found["evidence"]["enough"] is False
    assert 7 < found["evidence"]["metric"] < 10
    assert found["control"]["value"] > 0
    assert app.run(["experiment", "compare", str(file)]) == ExitCode.OK
    out = capsys.readouterr().out
    assert out.count("too few to tell") == 3  # the site, all, and what that means
    assert "fewer than 10 users of equal weight" in out


def test_a_small_rate_has_as_many_digits_as_a_large_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(rare(tmp_path, 400)) == ExitCode.OK
    assert "0.0001234 (" in capsys.readouterr().out


def test_whoever_hands_over_what_few_people_had_is_warned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "few people make up all there is of paid (control), paid (treatment): sums tell"
    assert app.run(rare(tmp_path, 10)) == ExitCode.OK
    assert warning in capsys.readouterr().out
    assert app.run([*rare(tmp_path, 10), "--format", "json"]) == ExitCode.OK
    captured = capsys.readouterr()
    assert warning in captured.err
    assert json.loads(captured.out)["site"] == "beijing"
    for buyers in (0, 400):
        assert app.run(rare(tmp_path, buyers)) == ExitCode.OK
        assert "few people" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("--metric", "customer"), "'customer' cannot be a metric: it tells the user"),
        (("--site", ""), "no name of a site: ''"),
        (("--site", "bei\njing"), "no name of a site"),
        (("--metric", "x" * 300), "no name of a metric"),
        (("--data", "empty.csv"), "empty.csv has no rows"),
        (("--delimiter", r"\t"), "is not one character; a shell writes a tab as $'\\t'"),
    ],
)
def test_what_cannot_be_counted_says_why(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str],
    why: str,
) -> None:
    (tmp_path / "empty.csv").write_text("customer,paid\n")
    monkeypatch.chdir(tmp_path)
    assert app.run([*rare(tmp_path, 400), *change]) == ExitCode.BAD_USAGE
    assert why in capsys.readouterr().err
