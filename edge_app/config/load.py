"""From a YAML file to a `Config`, or to a list of what is wrong with it, line by line.

Paths in the file are relative to the file's own folder, so that a box's folder can be moved. Every
problem is reported at once, each with the key's path, its line, what was received and the fix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edge_app.config.document import read_document
from edge_app.config.schema import Config
from edge_app.errors import ConfigError


def load_config(path: Path | str) -> Config:
    """Read, validate and return the configuration in `path`, all paths made absolute.

    Raises:
        ConfigError: the file cannot be read or used; the message lists every problem.
    """
    file = Path(path)
    document = read_document(
        file,
        name="the configuration",
        path_fix="give its path with --config, or write one with `dsr-edge config new`",
        example="write an example with `dsr-edge config new` and start from that",
    )
    try:
        config = Config.model_validate(document.tree)
    except ValidationError as error:
        problems = document.problems(error, Config)
        raise ConfigError(
            f"{file} cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems),
            fix="mend the keys named above; `dsr-edge config schema` prints every key and its type",
        ) from None
    return _absolute(config, file.resolve().parent)


Section = TypeVar("Section", bound=BaseModel)


def _absolute(section: Section, base: Path) -> Section:
    """Return `section` with every relative path in it resolved against `base`."""

    def resolve(value: Any) -> Any:
        if isinstance(value, Path):
            return base / value.expanduser()
        if isinstance(value, tuple):
            return tuple(resolve(item) for item in value)
        return _absolute(value, base) if isinstance(value, BaseModel) else value

    return section.model_copy(
        update={name: resolve(getattr(section, name)) for name in type(section).model_fields}
    )
