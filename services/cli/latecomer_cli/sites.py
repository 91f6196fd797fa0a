"""From a recipe to sites: its data read once, and each worker's part of it."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import structlog

from latecomer.data import COLUMNS, EXAMPLES, Data, ExampleData
from latecomer.datasets import files, registry
from latecomer.errors import BadData
from latecomer.evaluation.ranking import Ids
from latecomer.fleet import FleetWorker, device_name
from latecomer.interactions import tables
from latecomer.interactions.schema import Catalogue, Interactions, Report
from latecomer.interactions.selection import Divisible, Selection, select, selected
from latecomer.interactions.sources import load
from latecomer.interactions.splits import History, Split, temporal_split
from latecomer.outcomes.examples import Cohort, Examples
from latecomer.outcomes.fields import Fields
from latecomer.outcomes.splits import hashed_split
from latecomer.recipe import ProtocolName, Recipe
from latecomer.tensors import digest
from latecomer_worker.site import Site

log = structlog.get_logger()

#: A folder of published data sets, each in a folder of its name; looked into before the recipe's.
DATA_VARIABLE = "LATECOMER_DATA"

#: Where recipes keep data beside themselves.
BESIDE = "data"

#: Of the regions that no worker names, so many are shown.
SHOWN_REGIONS = 3

#: 1980-01-01. Years, months and spreadsheets' days, taken as Unix seconds, lie before it.
NOBODY_LOGGED_BEFORE_S = 315_532_800.0


def published_history(name: str) -> tuple[History, int] | None:
    """Training histories and items of a data set under ``LATECOMER_DATA``; None if it is not there.

    Raises:
        BadData: It is there and cannot be read.
    """
    folder = Path(os.environ.get(DATA_VARIABLE, "")) / name
    if DATA_VARIABLE not in os.environ or not files.is_folder(folder):
        return None
    catalogue = registry.read_catalogue(name, folder)
    interactions, _ = registry.load(name, folder, catalogue, now_s=time.time())
    return temporal_split(interactions).train, len(catalogue)


def is_own_file(recipe: Recipe) -> bool:
    """Whether a recipe reads a file that its owner wrote, not a data set as published."""
    return recipe.data.format in (COLUMNS, EXAMPLES)


def read_catalogue(
    recipe: Recipe, folder: Path, *, source: Path | None = None
) -> Catalogue | Fields:
    """What the recipe's federation agrees on; the recipe lies in ``folder``.

    Raises:
        BadData: It cannot be read.
    """
    if isinstance(recipe.data, ExampleData):
        return recipe.data.agreed
    if recipe.data.format != COLUMNS:
        return registry.read_catalogue(recipe.data.format, published(recipe.data, folder, source))
    beside = source if source is not None and files.is_folder(source) else None
    path = _located(recipe.data.catalogue, folder, beside)
    return Catalogue.read(path, delimiter=recipe.data.delimiter)


def parsed_catalogue(recipe: Recipe, data: bytes) -> Catalogue | Fields:
    """The same as it was published with version 0."""
    return (Fields if isinstance(recipe.data, ExampleData) else Catalogue).from_bytes(data)


def read_data(
    recipe: Recipe,
    folder: Path,
    catalogue: Catalogue | Fields,
    *,
    source: Path | None = None,
    not_before_s: float = 0.0,
) -> tuple[Interactions | Cohort, Report]:
    """The data of a recipe, or of another ``source``: a file with the same columns, or a folder.

    Rows that cannot be used are counted in the report, which is in the log as well. It is now what
    the clock says, and certainly ``not_before_s``.

    Raises:
        BadData: It cannot be used.
    """
    data = recipe.data
    read: tuple[Interactions | Cohort, Report]
    if isinstance(data, ExampleData):
        assert isinstance(catalogue, Fields), "examples are read by the fields agreed on"
        read = _examples(data, folder, catalogue, source)
    else:
        assert isinstance(catalogue, Catalogue), "interactions refer to a catalogue"
        read = _interactions(data, folder, catalogue, source, max(time.time(), not_before_s))
    log.info("data.read", **read[1].as_dict())
    return read


def look(
    recipe: Recipe, folder: Path, *, source: Path | None = None
) -> frozenset[tuple[str, int, int, int, int]]:
    """What the files that ``read_data`` reads look like: another set once one is another.

    Also once their rights are: what could not be read may be, then.
    """
    data = recipe.data
    own = data.format in {COLUMNS, EXAMPLES}
    found = set()
    # One of them is being replaced, or its mount is away: it will look like another.
    with suppress(OSError, ValueError):
        place = _located(data.source, folder, source) if own else published(data, folder, source)
        for path in place.iterdir() if files.is_folder(place) else [place]:
            facts = path.stat()
            times_ns = facts.st_mtime_ns, facts.st_ctime_ns
            found.add((str(path), facts.st_ino, facts.st_size, *times_ns))
    return frozenset(found)


def site(
    data: Interactions | Cohort,
    selection: Selection | None,
    catalogue: Catalogue | Fields,
    *,
    label: str | None,
    seed: int,
    validation: bool = True,
) -> Site:
    """One worker's part; without a selection everything is its own.

    Args:
        data: Everybody's.
        selection: Which part.
        catalogue: What it refers to.
        label: Where given, reported as the region of all its users.
        seed: Says which examples are held out; of interactions, the last ones are.
        validation: Whether anything is held out to choose by; else it is trained on.
    """
    own = data if selection is None else select(data, selection)
    return _site(
        own, catalogue, label=label, seed=seed, validation=validation, grouped=_grouped(own)
    )


def of_nobody(catalogue: Catalogue | Fields, *, seed: int) -> Site:
    """The site of a worker whose last people are gone."""
    none = np.empty(0, np.int64)
    nobody: Interactions | Cohort = Interactions((), (), none, none, none.astype(np.float64))
    if isinstance(catalogue, Fields):
        examples = Examples(np.empty((0, len(catalogue)), np.float32), none)
        nobody = Cohort((), (), (), examples)
    return site(nobody, None, catalogue, label=None, seed=seed)


@dataclass(frozen=True)
class Part:
    """What one worker of a scene has of everybody's data.

    Attributes:
        name: The worker's.
        label: Where given, reported as the region of all its users.
        rows: Of its users, increasing.
    """

    name: str
    label: str | None
    rows: Ids


def part(data: Divisible, worker: FleetWorker) -> Part:
    """A worker's.

    Raises:
        BadData: It would have nobody.
    """
    return Part(worker.name, worker.label, np.flatnonzero(selected(data, worker)))


def present(data: Divisible, recipe: Recipe) -> list[Part]:
    """Who takes part in a scene: its honest workers, without slots that no user falls into."""
    found = []
    for each in recipe.fleet.honest():
        try:
            found.append(part(data, each))
        except BadData:
            if not each.slots:
                raise
    return found


def note_left_out(data: Interactions | Cohort, recipe: Recipe, report: Report) -> None:
    """Say of how many users no worker of a scene names the region: they are at none."""
    left = Counter(data.regions)
    for region in {*left}:
        if any(each.takes(region) for each in recipe.fleet.workers):
            del left[region]
    if not left or not recipe.fleet.workers:
        return
    most = [
        f"{tables.excerpt(region, report.delimiter)!r} {count}" if region else f"no region {count}"
        for region, count in left.most_common(SHOWN_REGIONS)
    ]
    more = [f"and {len(left) - len(most)} more"] if len(left) > len(most) else []
    who = "examples" if isinstance(data, Cohort) else "users"
    report.warnings.append(
        f"at no worker, because none names their region: {left.total()} {who} "
        f"({', '.join([*most, *more])})"
    )


def of_workers(
    data: Interactions | Cohort,
    parts: Sequence[Part],
    catalogue: Catalogue | Fields,
    *,
    seed: int,
    validation: bool = True,
    protocol: ProtocolName = ProtocolName.CLEAN,
) -> dict[str, Site]:
    """Everybody's data as the sites of a scene's workers, by name and in their order.

    Nobody is tested twice: who is at several workers is tested at the first of them, and the others
    only learn from him. Under a leaky protocol, held-out items are never negatives there.
    """
    tested = np.zeros(len(data.users), dtype=bool)
    grouped = _grouped(data)  # one person's examples may be at several of them
    found = {}
    for each in parts:
        own = np.zeros(len(data.users), dtype=bool)
        own[each.rows] = True
        its = _site(
            data.of_users(own),
            catalogue,
            label=each.label,
            seed=seed,
            validation=validation,
            grouped=grouped,
        )
        split = its.split
        if protocol is ProtocolName.PFEDREC_COMPAT:
            assert isinstance(split, Split), "only rankings have negatives"
            split = split.leaking()
        found[each.name] = replace(its, split=split, elsewhere=tested[own])
        tested |= own
    return found


def of_each_user(worker: str, site: Site) -> dict[str, Site]:
    """A worker's site as those of its users, in their order: nobody else is known there.

    Raises:
        BadConfiguration: Their names would be too long.
    """
    return {device_name(worker, row + 1): site.of_user(row) for row in range(len(site.users))}


def _grouped(data: Interactions | Cohort) -> bool:
    """Whether several examples are of one person."""
    return isinstance(data, Cohort) and len(set(data.groups)) < len(data.groups)


def _site(
    own: Interactions | Cohort,
    catalogue: Catalogue | Fields,
    *,
    label: str | None,
    seed: int,
    validation: bool,
    grouped: bool,
) -> Site:
    regions = (label,) * len(own.users) if label else own.regions
    agreed = digest(catalogue.to_bytes())
    if isinstance(own, Cohort):
        held_out = hashed_split(own, seed=seed, validation=validation)
        groups = own.groups if grouped else None
        return Site(own.users, regions, held_out, agreed, groups=groups)
    split = temporal_split(own, validation=validation)
    return Site(own.users, regions, split, agreed, own.edges, own.given)


def _interactions(
    data: Data, folder: Path, catalogue: Catalogue, source: Path | None, now_s: float
) -> tuple[Interactions, Report]:
    if data.format != COLUMNS:
        return registry.load(data.format, published(data, folder, source), catalogue, now_s=now_s)
    read = load(
        _located(data.source, folder, source),
        data.columns,
        catalogue,
        now_s=now_s,
        delimiter=data.delimiter,
        time_format=data.time_format,
    )
    _doubt_times(data, *read)
    return read


def _doubt_times(data: Data, interactions: Interactions, report: Report) -> None:
    """Say so where all times lie before 1980: any number is read as Unix seconds."""
    if data.time_format is None and interactions.time_s.max() < NOBODY_LOGGED_BEFORE_S:
        column = data.columns.time
        hint = "if these are no Unix seconds, data.time_format says how times are written"
        log.warning("data.all_before_1980", column=column, hint=hint)
        report.warnings.append(f"all times of column {column!r} lie before 1980: {hint}")


def _examples(
    data: ExampleData, folder: Path, agreed: Fields, source: Path | None
) -> tuple[Cohort, Report]:
    if data.format == EXAMPLES:
        return data.reader.load(_located(data.source, folder, source), agreed)
    place = published(data, folder, source)
    return data.reader.from_table(registry.read_examples(data.format, place), place, agreed)


def published(data: Data | ExampleData, folder: Path, source: Path | None = None) -> Path:
    """The folder of a data set: ``source``, else under ``LATECOMER_DATA``, else by the recipe."""
    shared = os.environ.get(DATA_VARIABLE)
    name = registry.folder(data.format)
    if source is None and shared and files.is_folder(Path(shared) / name):
        return Path(shared) / name
    return source or folder / data.source


def _located(name: str, folder: Path, source: Path | None) -> Path:
    """A file that a recipe names: ``source`` or in it; else by the recipe or in LATECOMER_DATA.

    Where it is nowhere, the place where it was expected first, for the error of who reads it.
    """
    if source is not None and not files.is_folder(source):
        return source
    places = (each for each in _places(name, folder, source) if files.is_file(each))
    return next(places, (source or folder) / name)


def _places(name: str, folder: Path, source: Path | None) -> Iterator[Path]:
    shared = os.environ.get(DATA_VARIABLE)
    for form in (Path(name), Path(f"{name}.gz")):
        if source is not None:
            yield source / form
            yield source / form.name
            continue
        yield folder / form
        if shared and form.parts[0] == BESIDE:
            yield Path(shared, *form.parts[1:])
