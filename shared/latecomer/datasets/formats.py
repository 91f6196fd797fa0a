"""Published formats by the name that a recipe's data section gives them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from latecomer.datasets.movielens import MovieLens100K
from latecomer.interactions.schema import Catalogue, Interactions, Report


class Dataset(Protocol):
    """What a loader reads from the folder that somebody downloaded."""

    def catalogue(self, folder: Path) -> Catalogue:
        """All items.

        Raises:
            BadData: A file is missing or damaged; the hint says where to download it.
        """
        ...

    def interactions(
        self, folder: Path, catalogue: Catalogue, *, now_s: float
    ) -> tuple[Interactions, Report]:
        """Who did what when, and what was unusable.

        Raises:
            BadData: As ``catalogue``, or no line is usable.
        """
        ...


FORMATS: Mapping[str, Dataset] = {"ml-100k": MovieLens100K()}
