"""MIMIC-III, clinical database demo: which drugs a hundred intensive care patients were given.

A. Johnson, T. Pollard and R. Mark (2019), "MIMIC-III Clinical Database Demo" (version 1.4),
PhysioNet, doi:10.13026/C2HM2Q.
"""

from pathlib import Path

from latecomer.datasets import files, untimed
from latecomer.datasets.port import Dataset
from latecomer.datasets.regions import homes
from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.tables import Table

_PRESCRIPTIONS = "PRESCRIPTIONS.csv"
_ADMISSIONS = "ADMISSIONS.csv"


def _catalogue(folder: Path) -> Catalogue:
    given = files.columns(files.path(folder, _PRESCRIPTIONS), ("SUBJECT_ID", "DRUG"))
    pairs = (pair for pair in zip(*given, strict=True) if all(pair))
    drugs = tuple(untimed.widespread(pairs, 1))
    return Catalogue(drugs, drugs)


def _table(folder: Path) -> Table:
    """A patient's region is who pays for most of his admissions."""
    names = ("SUBJECT_ID", "DRUG", "STARTDATE")
    patients, drugs, days = files.columns(files.path(folder, _PRESCRIPTIONS), names)
    admissions = files.columns(files.path(folder, _ADMISSIONS), ("SUBJECT_ID", "INSURANCE"))
    payer = homes(zip(*admissions, strict=True))
    return Table(
        range(2, len(patients) + 2),  # the first line names the columns
        {
            "user": patients,
            "item": drugs,
            "time": days,
            "region": [payer.get(patient, "") for patient in patients],
        },
    )


#: Each patient's dates were moved by a distance of his own into the 22nd century.
MIMIC_III_DEMO = Dataset(
    origin="https://physionet.org/content/mimiciii-demo/1.4/",
    files=(_PRESCRIPTIONS, _ADMISSIONS),
    columns=Columns(user="SUBJECT_ID", item="DRUG", time="STARTDATE", region="INSURANCE"),
    catalogue=_catalogue,
    table=_table,
    order="by day; of one day at random",
    dates_are_shifted=True,
)
