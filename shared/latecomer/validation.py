"""What pydantic found wrong, as sentences for people: the key's path, and what is allowed there."""

import difflib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

Model = type[BaseModel]
Branches = Mapping[str, Mapping[str, Model]]

#: What pydantic calls types, as a person who writes TOML would.
TYPES = {
    "model_type": "a table",
    "model_attributes_type": "a table",
    "tuple_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
}

#: What patterns ask for, by the key; every other one is a name.
PATTERNS = {"shard": "a part like '2/6'", "cohort": "a part like '1/3'"}
A_NAME = "1 to 40 lower-case letters, digits and inner hyphens"


def first_problem(error: ValidationError) -> str:
    """The first finding, briefly: for a log line about bytes that a machine wrote."""
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {what}" if place else what


def problems(error: ValidationError, root: Model, branches: Branches, follows: str = "") -> str:
    """Every finding, for a person who wrote the file.

    Args:
        error: What validating the file as ``root`` raised.
        root: The whole file's model.
        branches: Models that a table chooses from by a key of its own, by the table's name.
        follows: The table whose branch is another's: what is wrong with that is said there.
    """
    page = _Page(root, branches)
    told = [each for each in error.errors(include_url=False) if not _follows(each, follows)]
    return "; ".join(page.sentence(each) for each in told)


def _follows(problem: Any, table: str) -> bool:
    return bool(problem["loc"] == (table,) and problem["type"].startswith("union_tag_"))


@dataclass(frozen=True)
class _Page:
    """A kind of file, to look up what is allowed where."""

    root: Model
    branches: Branches

    def sentence(self, problem: Any) -> str:
        if not problem["loc"]:
            return str(problem["ctx"]["error"])
        path, kind = self._path(problem["loc"]), problem["type"]
        match kind:
            case "extra_forbidden":
                return f"{path}: unknown key{self._instead(problem['loc'])}"
            case "missing":
                return f"{path}: required"
            case "union_tag_not_found":
                return f"{path}.{_tag(problem)}: required, one of {self._names(problem['loc'])}"
            case "union_tag_invalid":
                rule, kind = self._names(problem["loc"]), problem["ctx"]["tag"]
                return f"{path}.{_tag(problem)}: must be one of {rule}, got {kind!r}"
            case "string_pattern_mismatch":
                rule = f"must be {PATTERNS.get(problem['loc'][-1], A_NAME)}"
            case _ if kind in TYPES:
                rule = f"must be {TYPES[kind]}"
            case "value_error":
                rule = str(problem["ctx"]["error"])
            case _:
                rule = problem["msg"].replace("Input should be", "must be")
        of_a_table = kind == "value_error" and isinstance(problem["input"], Mapping)
        return f"{path}: {rule}" + ("" if of_a_table else f", got {reprlib.repr(problem['input'])}")

    def _names(self, place: tuple[str | int, ...]) -> str:
        return ", ".join(map(repr, self.branches[str(place[-1])]))

    def _instead(self, place: tuple[str | int, ...]) -> str:
        allowed = self._allowed(place[:-1])
        close = difflib.get_close_matches(str(place[-1]), allowed, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        return f"{meant}, allowed: {', '.join(allowed)}"

    def _path(self, place: tuple[str | int, ...]) -> str:
        """As written in the file, which names a branch inside its table and not in a path."""
        return ".".join(str(part) for table, part in _steps(place) if part not in self._of(table))

    def _allowed(self, place: tuple[str | int, ...]) -> list[str]:
        """The keys of the section at ``place``; a union's branch is in it by its tag."""
        section = self.root
        for table, part in _steps(place):
            section = self._of(table).get(str(part)) or self._inner(section, part)
        return sorted(name for name, each in section.model_fields.items() if not each.exclude)

    def _of(self, table: str | int) -> Mapping[str, Model]:
        """The branches of a table."""
        return self.branches.get(str(table), {})

    def _inner(self, section: Model, part: str | int) -> Model:
        if isinstance(part, int):
            return section
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        models = [each for each in candidates if hasattr(each, "model_fields")]
        return models[0] if models else section


def _steps(place: tuple[str | int, ...]) -> list[tuple[str | int, str | int]]:
    """Each part of a place with the one before it."""
    return list(zip(("", *place), place, strict=False))


def _tag(problem: Any) -> str:
    """The key that chooses a branch, which pydantic quotes."""
    return str(problem["ctx"]["discriminator"]).strip("'")
