"""Derives patients.csv from the four processed files of the UCI Heart Disease data set.

Usage: python derive.py FOLDER_OF_THE_PUBLISHED_FILES [OUTPUT_FOLDER]

Nothing is left out: the four files one after another, with names for the columns and the hospital,
numbers written alike, and nothing where a value is missing (published as ? or NaN).
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

HOSPITALS = {
    "cleveland": "Cleveland",
    "hungarian": "Budapest",
    "switzerland": "Zurich and Basel",
    "va": "Long Beach",
}
COLUMNS = (
    "age", "sex", "chest_pain", "blood_pressure", "cholesterol", "blood_sugar", "resting_ecg",
    "heart_rate", "exercise_angina", "st_depression", "st_slope", "vessels", "thallium", "disease",
)  # fmt: skip


def number(text: str) -> str:
    """The same number without needless digits; nothing for a missing one."""
    return "" if text in {"?", "NaN"} else f"{float(text):g}"


def patients(folder: Path) -> Iterator[tuple[str, ...]]:
    """(patient, hospital, …) of everybody, hospital by hospital."""
    for name, hospital in HOSPITALS.items():
        with (folder / f"processed.{name}.data").open(newline="") as file:
            for place, row in enumerate(csv.reader(file), start=1):
                yield (f"{name}-{place}", hospital, *map(number, row))


def main(source: Path, folder: Path) -> None:
    """Read the published files, write one, and say how many are in it."""
    rows = list(patients(source))
    with (folder / "patients.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("patient", "hospital", *COLUMNS), *rows])
    print(f"{len(rows)} patients of {len({row[1] for row in rows})} hospitals")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "."))  # noqa: PLR2004 - argv
