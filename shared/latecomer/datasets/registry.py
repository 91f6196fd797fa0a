"""Published data sets by the name that a recipe's ``data.format`` gives them."""

import math
from pathlib import Path

from latecomer.datasets import (
    campaigns,
    clicks,
    complete_journey,
    files,
    filmtrust,
    lastfm,
    mimic,
    movielens,
    taobao,
    yelp,
)
from latecomer.datasets.port import Dataset, ExampleSet
from latecomer.errors import BadConfiguration, BadData
from latecomer.interactions.schema import Catalogue, Interactions, Report
from latecomer.interactions.sources import from_table
from latecomer.interactions.tables import Table

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

EXAMPLE_SETS: dict[str, ExampleSet] = {
    "complete-journey-campaigns": campaigns.CAMPAIGNS,
    "ml-1m-clicks": clicks.ML_1M_CLICKS,
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


def folder(name: str) -> str:
    """What the folder of this format's files is called."""
    return EXAMPLE_SETS[name].folder if name in EXAMPLE_SETS else name


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
    _check_files(name, dataset(name), folder)
    return dataset(name).catalogue(folder)


def load(
    name: str, folder: Path, catalogue: Catalogue, *, now_s: float
) -> tuple[Interactions, Report]:
    """Its interactions; rows that cannot be used are counted as by ``sources.load``.

    Raises:
        BadData: A file is missing, cannot be read, or does not go with the others; or no row is
            usable.
    """
    chosen = dataset(name)
    interactions, report = from_table(
        _table(name, chosen, folder),
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


def read_examples(name: str, folder: Path) -> Table:
    """The examples of a data set that lies in ``folder``, by column.

    Raises:
        BadData: A file is missing, cannot be read, or does not go with the others.
    """
    return _table(name, EXAMPLE_SETS[name], folder)


def _table(name: str, chosen: Dataset | ExampleSet, folder: Path) -> Table:
    """One row per interaction or example."""
    _check_files(name, chosen, folder)
    try:
        return chosen.table(folder)
    except (KeyError, ValueError) as error:
        raise BadData(
            f"the files in {folder} are not those of {name}: {error!r}",
            hint=f"download them again, all from {chosen.origin}",
        ) from error


def _check_files(name: str, chosen: Dataset | ExampleSet, folder: Path) -> None:
    absent = [each for each in chosen.files if files.find(folder, each) is None]
    if absent:
        raise BadData(
            f"{name} is not complete in {folder}: {', '.join(absent)} missing",
            hint=f"download it from {chosen.origin} and unpack {', '.join(chosen.files)} there",
        )
