"""What every section of the configuration is made of: names, numbers with bounds, and the strict mapping."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN: Final = r"^[A-Za-z0-9_-]{1,32}$"
SPARKPLUG_PATTERN: Final = r"^[^+#/\x00-\x1f\x7f]{1,64}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
#: More than thirty years in seconds; larger numbers of nanoseconds end in overflows.
Positive = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]
#: A point of a picture: shares of its width (to the right) and height (down).
Spot = tuple[Share, Share]


class Section(BaseModel):
    """A mapping in the file: unknown keys and infinite numbers are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def refuse_twins(where: str, names: list[str]) -> None:
    """Refuse names that are used more than once.

    Raises:
        ValueError: some are; the message names them.
    """
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        msg = f"{where}: used more than once: {', '.join(twins)}; give each its own name"
        raise ValueError(msg)
