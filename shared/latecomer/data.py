"""A recipe's section on data: interactions of users with items, or examples with outcomes."""

from collections import Counter
from typing import Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from latecomer.datasets.registry import DATASETS, EXAMPLE_SETS
from latecomer.interactions.schema import Columns
from latecomer.outcomes import fields as examples
from latecomer.outcomes.sources import ExampleSource, Outcome, Owners
from latecomer.sections import Section

#: The format of a data owner's own file: one row per interaction, columns as the recipe maps them;
#: or one row per example, fields as the recipe declares them.
COLUMNS = "columns"
EXAMPLES = "examples"


class Data(Section):
    """Where interactions and catalogue are (relative to the recipe), and what columns mean.

    Attributes:
        format: ``columns``, or the name of a published data set. ``source`` is then the folder of
            its files, ``data/<format>`` unless it is given; nothing else has to be.
    """

    format: str = COLUMNS
    source: str
    catalogue: str
    columns: Columns
    delimiter: str = Field(",", min_length=1, max_length=1)
    time_format: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _known_of_a_data_set(cls, body: object) -> object:
        # Filled in before the check, so that what a file of columns lacks is named key by key.
        known = DATASETS.get(str(body.get("format"))) if isinstance(body, dict) else None
        if known is None or not isinstance(body, dict):
            return body
        folder = f"data/{body['format']}"
        return {"source": folder, "catalogue": "", "columns": known.columns, **body}

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name != COLUMNS and name not in DATASETS:
            raise ValueError(
                f"must be {COLUMNS} or one of {', '.join((*DATASETS, EXAMPLES, *EXAMPLE_SETS))}"
            )
        return name


class ExampleData(Section):
    """Examples, one per row, with fields and what came of it.

    Attributes:
        format: ``examples`` for a data owner's own file, or the name of a published data set, of
            which only the fields have to be said.
        outcome: What is to be predicted.
        fields: What it is predicted from, with the values that each may have.
        columns: Whose an example is.
    """

    format: str
    source: str
    delimiter: str = Field(",", min_length=1, max_length=1)
    outcome: Outcome
    fields: tuple[examples.Field, ...] = Field(min_length=1)
    columns: Owners = Owners()

    @model_validator(mode="before")
    @classmethod
    def _known_of_a_data_set(cls, body: object) -> object:
        known = EXAMPLE_SETS.get(str(body.get("format"))) if isinstance(body, dict) else None
        if known is None or not isinstance(body, dict):
            return body
        owners = {"user": known.user, "region": known.region, "group": known.group}
        outcome = {"column": known.outcome, "positive": ["1"], "negative": ["0"]}
        told = {"source": f"data/{known.folder}", "outcome": outcome, "columns": owners}
        return {**told, **body}

    @model_validator(mode="after")
    def _has_its_columns(self) -> Self:
        known = EXAMPLE_SETS.get(self.format)
        named = [self.outcome.column, *self.columns.named(), *(each.name for each in self.fields)]
        unknown = [] if known is None else [each for each in named if each not in known.columns]
        if known is not None and unknown:
            raise ValueError(
                f"{self.format} has no {', '.join(unknown)}; it has {', '.join(known.columns)}"
            )
        return self

    @field_validator("fields")
    @classmethod
    def _are_columns_once_and_no_outcome(
        cls, fields: tuple[examples.Field, ...], info: ValidationInfo
    ) -> tuple[examples.Field, ...]:
        names = [each.name for each in fields]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"{', '.join(twice)} is listed twice")
        if "outcome" in info.data and (outcome := info.data["outcome"].column) in names:
            raise ValueError(f"{outcome} is the outcome, and nothing is predicted from itself")
        return fields

    @property
    def agreed(self) -> examples.Fields:
        """What is published with version 0."""
        return examples.Fields(self.fields, self.outcome.column)

    @property
    def reader(self) -> ExampleSource:
        """What reads the file."""
        return ExampleSource(self.outcome, self.columns, self.delimiter)


def kind_of_data(body: object) -> str:
    """Which of both a table is; what was validated before is asked itself."""
    format_ = body.get("format") if isinstance(body, dict) else getattr(body, "format", None)
    return EXAMPLES if format_ in (EXAMPLES, *EXAMPLE_SETS) else "interactions"


def field_widths(data: object) -> list[int]:
    """Inputs of each field of a table of examples; none where the table says something wrong."""
    fields = data.get("fields", ()) if isinstance(data, dict) else ()
    try:
        return [examples.Field.model_validate(each).width for each in fields]
    except ValidationError:
        return []
