"""From a recipe to sites: its data read once, and each worker's part of it."""

import time
from pathlib import Path

import structlog

from latecomer.datasets.formats import FORMATS
from latecomer.interactions.schema import Catalogue, Interactions
from latecomer.interactions.selection import Selection, select
from latecomer.interactions.sources import load
from latecomer.interactions.splits import temporal_split
from latecomer.recipe import Recipe
from latecomer.tensors import digest
from latecomer_worker.site import Site

log = structlog.get_logger()


def read_catalogue(recipe: Recipe, folder: Path) -> Catalogue:
    """The catalogue of a recipe whose data lies in ``folder``.

    Raises:
        BadData: It cannot be read.
    """
    if recipe.data.format in FORMATS:
        return FORMATS[recipe.data.format].catalogue(folder / recipe.data.source)
    return Catalogue.read(folder / recipe.data.catalogue)


def read_interactions(
    recipe: Recipe, folder: Path, catalogue: Catalogue, *, source: Path | None = None
) -> Interactions:
    """The interactions of a recipe, or of another ``source`` of the same form.

    Raises:
        BadData: They cannot be used; rows that cannot are counted in the log.
    """
    data, path = recipe.data, source or folder / recipe.data.source
    if data.columns is None:
        interactions, report = FORMATS[data.format].interactions(path, catalogue, now_s=time.time())
    else:
        interactions, report = load(
            path,
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
