"""What updates and versions may lose on their way, as a recipe's ``[compression]`` says it."""

from typing import Literal

from pydantic import Field

from latecomer.codecs import LEVELS, Loss, Values
from latecomer.sections import Section
from latecomer.wire import Codec

#: What is said of updates that may lose something.
LOSSY = {"values", "top_rows", "budget_bytes"}


class Compression(Section):
    """What updates and versions may lose on their way, and how updates are written.

    See ``latecomer.codecs``.

    By default nothing is lost and nothing is compressed: decoding is then a look at the message.

    Attributes:
        values: The format of values. ``int8``, ``int4``, ``quinary`` and ``ternary`` are codes of
            255, 15, 5 and 3 levels with a float16 scale per row of a table, or per 128 values; they
            are always in zstd frames, and what they leave out is added to the worker's next update.
        top_rows: Of the touched rows of a table, this part travels, those that changed the most;
            the others wait until they are touched again.
        zstd: Whether floats and rows are in zstd frames as well.
        download: ``float16`` halves what workers fetch: versions are published as float16 as well,
            and the aggregator goes on in float32. Decided with version 0.
        budget_bytes: Instead of one format, the least lossy one with which a payload is no larger,
            starting from ``values`` and ``top_rows``; the most lossy one where none is.
    """

    values: Values = "float32"
    top_rows: float = Field(1.0, gt=0, le=1)
    zstd: bool = False
    download: Literal["float32", "float16"] = "float32"
    budget_bytes: int | None = Field(None, ge=1)

    @property
    def loss(self) -> Loss:
        """What may be lost without a budget."""
        return Loss(self.values, self.top_rows)

    @property
    def codec(self) -> Codec:
        """How the wire is to write it."""
        return "zstd" if self.zstd or self.values in LEVELS or self.budget_bytes else "raw"
