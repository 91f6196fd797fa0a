"""What a published data set has to say of itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latecomer.interactions.schema import Catalogue, Columns
from latecomer.interactions.sources import Ties
from latecomer.interactions.tables import Table

#: Who follows, trusts or befriends whom, as user ids.
Edges = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Dataset:
    """A data set in the form in which it is published.

    Attributes:
        origin: Where a person downloads it.
        files: What has to lie in its folder; each may be gzipped.
        columns: What ``table`` provides, for the messages of the loader.
        catalogue: Folder -> all items.
        table: Folder -> one row per interaction, by meaning.
        order: What "last" means: by time, by place in the file, or at random.
        ties: What orders interactions of one user at one time; see ``sources.from_table``.
        dates_are_shifted: Times lie in the future on purpose, and are not checked against now.
        edges: Folder -> relations between users, where the data set has any.
        negatives: Folder and catalogue -> by user, rows of the negatives that were published with
            the test items; empty where their file is absent.
    """

    origin: str
    files: tuple[str, ...]
    columns: Columns
    catalogue: Callable[[Path], Catalogue]
    table: Callable[[Path], Table]
    order: str
    ties: Ties = "drawn"
    dates_are_shifted: bool = False
    edges: Callable[[Path], Edges] | None = None
    negatives: Callable[[Path, Catalogue], Mapping[str, Sequence[int]]] | None = None


@dataclass(frozen=True)
class ExampleSet:
    """A published data set of examples, each with what came of it: 1 or 0.

    Attributes:
        origin: Where a person downloads it.
        folder: Where its files lie, which may be those of a data set of interactions as well.
        files: What has to lie there; each may be gzipped.
        columns: Of ``table``: what a recipe's fields may name, and those below.
        outcome, user, region, group: The columns that say what came of an example and whose it is.
        table: Folder -> one row per example, by column.
    """

    origin: str
    folder: str
    files: tuple[str, ...]
    columns: tuple[str, ...]
    outcome: str
    user: str
    region: str
    group: str
    table: Callable[[Path], Table]
