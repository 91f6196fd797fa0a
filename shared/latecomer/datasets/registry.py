"""Published data sets by the name that a recipe's ``data.format`` gives them."""

import math
from pathlib import Path

from latecomer.datasets import (
    complete_journey,
    files,
    filmtrust,
    lastfm,
    mimic,
    movielens,
    taobao,
    yelp,
)
from latecomer.datasets.port import Dataset
from latecomer.errors import BadConfiguration, BadData
from latecomer.interactions.schema import Catalogue, Interactions, Report
from latecomer.interactions.sources import from_table

DATASETS: dict[str, Dataset] = {
    "complete-journey": complete_journey.COMPLETE_JOURNEY,
    "filmtrust": filmtrust.FILMTRUST,
    "lastfm-2k": lastfm.LASTFM_2K,
    "mimic-iii-demo": mimic.MIMIC_III_DEMO,
    "ml-100k": movielens.ML_100K,
    "ml-1m": movielens.ML_1M,
    "taobao-ehcf": taobao.TAOBAO,
    "yelp-hin": yelp.YELP,
}


def dataset(name: str) -> Dataset:
    """The data set of this name.

    Raises:
        BadConfiguration: There is none; the message names those there are.
    """
    if name not in DATASETS:
        raise BadConfiguration(
            f"data.format is {name!r}; it must be columns or one of {', '.join(DATASETS)}"
        )
    return DATASETS[name]


def related(name: str) -> bool:
    """Whether a format knows of relations between users."""
    return name in DATASETS and DATASETS[name].edges is not None


def has_negatives(name: str) -> bool:
    """Whether negatives were published with a format's test items."""
    return name in DATASETS and DATASETS[name].negatives is not None


def read_catalogue(name: str, folder: Path) -> Catalogue:
    """The items of a data set that lies in ``folder``.

    Raises:
        BadData: A file is missing, the message says which and where it is published; or it cannot
            be read.
    """
    _check_files(name, folder)
    return dataset(name).catalogue(folder)


def load(
    name: str, folder: Path, catalogue: Catalogue, *, now_s: float
) -> tuple[Interactions, Report]:
    """Its interactions; rows that cannot be used are counted as by ``sources.load``.

    Raises:
        BadData: A file is missing or cannot be read, or no row is usable.
    """
    _check_files(name, folder)
    chosen = dataset(name)
    interactions, report = from_table(
        chosen.table(folder),
        folder,
        chosen.columns,
        catalogue,
        now_s=math.inf if chosen.dates_are_shifted else now_s,
        ties=chosen.ties,
    )
    if chosen.edges is not None:
        interactions = interactions.related(chosen.edges(folder))
    published = chosen.negatives(folder, catalogue) if chosen.negatives else {}
    if published:
        interactions = interactions.with_negatives(published)
    return interactions, report


def _check_files(name: str, folder: Path) -> None:
    chosen = dataset(name)
    absent = [each for each in chosen.files if files.find(folder, each) is None]
    if absent:
        raise BadData(
            f"{name} is not complete in {folder}: {', '.join(absent)} missing",
            hint=f"download it from {chosen.origin} and unpack {', '.join(chosen.files)} there",
        )
