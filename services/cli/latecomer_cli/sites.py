"""From a recipe to sites: its data read once, and each worker's part of it."""

import os
import time
from pathlib import Path

import structlog

from latecomer.datasets import registry
from latecomer.interactions.schema import Catalogue, Interactions
from latecomer.interactions.selection import Selection, select
from latecomer.interactions.sources import load
from latecomer.interactions.splits import History, temporal_split
from latecomer.recipe import COLUMNS, Recipe
from latecomer.tensors import digest
from latecomer_worker.site import Site

log = structlog.get_logger()

#: A folder of published data sets, each in a folder of its name; looked into before the recipe's.
DATA_VARIABLE = "LATECOMER_DATA"


def published(recipe: Recipe, folder: Path) -> Path:
    """The folder of the recipe's data set: under ``LATECOMER_DATA``, else beside the recipe."""
    shared = os.environ.get(DATA_VARIABLE)
    if shared and (Path(shared) / recipe.data.format).is_dir():
        return Path(shared) / recipe.data.format
    return folder / recipe.data.source


def published_history(name: str) -> tuple[History, int] | None:
    """Training histories and items of a data set under ``LATECOMER_DATA``; None if it is not there.

    Raises:
        BadData: It is there and cannot be read.
    """
    folder = Path(os.environ.get(DATA_VARIABLE, "")) / name
    if DATA_VARIABLE not in os.environ or not folder.is_dir():
        return None
    catalogue = registry.read_catalogue(name, folder)
    interactions, _ = registry.load(name, folder, catalogue, now_s=time.time())
    return temporal_split(interactions).train, len(catalogue)


def read_catalogue(recipe: Recipe, folder: Path, *, source: Path | None = None) -> Catalogue:
    """The catalogue of a recipe that lies in ``folder``.

    Raises:
        BadData: It cannot be read.
    """
    if recipe.data.format != COLUMNS:
        return registry.read_catalogue(recipe.data.format, source or published(recipe, folder))
    return Catalogue.read(folder / recipe.data.catalogue)


def read_interactions(
    recipe: Recipe, folder: Path, catalogue: Catalogue, *, source: Path | None = None
) -> Interactions:
    """The interactions of a recipe, or of another ``source`` with the same columns.

    Raises:
        BadData: They cannot be used; rows that cannot are counted in the log.
    """
    data = recipe.data
    if data.format != COLUMNS:
        interactions, report = registry.load(
            data.format, source or published(recipe, folder), catalogue, now_s=time.time()
        )
    else:
        interactions, report = load(
            source or folder / data.source,
            data.columns,
            catalogue,
            now_s=time.time(),
            delimiter=data.delimiter,
            time_format=data.time_format,
        )
    log.info("interactions.read", **report.as_dict())
    return interactions


def site(
    interactions: Interactions,
    selection: Selection | None,
    catalogue: Catalogue,
    *,
    label: str | None,
) -> Site:
    """One worker's part; without a selection everything is its own.

    ``label``, where given, is reported as the region of all its users.
    """
    own = select(interactions, selection or Selection())
    return Site(
        users=own.users,
        regions=(label,) * len(own.users) if label else own.regions,
        split=temporal_split(own),
        catalogue=digest(catalogue.to_bytes()),
    )
