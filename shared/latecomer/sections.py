"""What every table of a recipe has in common: nothing unknown in it, and nothing without effect."""

from pydantic import BaseModel, ConfigDict, ValidationInfo

#: The context in which is checked what comes from the store, or was announced with a round.
PUBLISHED = "published"


class Section(BaseModel):
    """A table of a recipe: unknown keys are errors, infinite numbers too, and nobody changes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def said(self, names: set[str]) -> list[str]:
        """Those of ``names`` that are not their defaults."""
        return [*self.model_dump(include=names, exclude_defaults=True)]

    def without_effect(self, names: set[str], why: str, info: ValidationInfo) -> None:
        """Refuse to be told what nobody would read.

        A published recipe is past it: it was agreed on under a release that may have been laxer.

        Raises:
            ValueError: One of ``names`` is not its default.
        """
        if (said := self.said(names)) and info.context != PUBLISHED:
            raise ValueError(f"{', '.join(said)}: without effect {why}")
