"""A YAML file that is checked against a schema: every problem with its key, its line and the fix.

What the box's configuration and the field test's scenarios have in common. A key that stands twice is an
error, as is one that the schema does not know; all problems are told at once.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

from edge_app.config.base import NAME_PATTERN, SPARKPLUG_PATTERN
from edge_app.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Location = tuple["str | int", ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (``cameras[0].source.path``), on which line, what, and the fix."""

    key: str
    line: int | None
    what: str
    fix: str

    def __str__(self) -> str:
        """Return one line for a person."""
        where = f"{self.key} (line {self.line})" if self.line else self.key
        return f"{where}: {self.what}; {self.fix}" if self.fix else f"{where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Document:
    """What stands in a file, and the line of each key."""

    tree: dict[str, Any]
    lines: Mapping[Location, int]

    def problems(self, error: ValidationError, schema: type[BaseModel]) -> list[Problem]:
        """Return what is wrong with it by the validation against `schema`; nothing that only follows."""
        details = [one for one in error.errors(include_url=False) if not _follows_from_another(one, error)]
        return [_problem(detail, self.lines, self.tree, schema) for detail in details]


def read_document(file: Path, *, name: str, path_fix: str, example: str) -> Document:
    """Read a YAML file.

    Args:
        file: its path.
        name: what it is, for the messages.
        path_fix: what to do where it cannot be read.
        example: where to find one.

    Raises:
        ConfigError: it cannot be read, is no YAML, or has no keys and values at its top.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {name} {file} ({error.strerror})", fix=path_fix) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start})", fix="save it as UTF-8") from None
    try:
        tree = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader that refuses double keys
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(
            f"{file}{where} is not valid YAML: {problem}", fix="mend the line; indent with spaces, not tabs"
        ) from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{file} must hold keys and values at its top; received {type(tree).__name__}", fix=example
        )
    return Document(tree, dict(_lines(root, ())))


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML as everybody means it: a key that stands twice is an error, not the last one silently."""


def _construct_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"keys are text; received {key!r}", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def _lines(node: yaml.Node | None, at: Location) -> Iterator[tuple[Location, int]]:
    if node is None:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*at, key.value), key.start_mark.line + 1
            yield from _lines(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield (*at, i), value.start_mark.line + 1
            yield from _lines(value, (*at, i))


def _location(detail: ErrorDetails, tree: Mapping[str, Any]) -> Location:
    """Return the place in the file: pydantic adds the tag of a union to it, which is not a key."""
    place: list[str | int] = []
    value: Any = tree
    missing = detail["type"] == "missing"
    parts = detail["loc"]
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        if _has(value, part):
            value = value[part]
        elif isinstance(value, dict) and value.get("kind") == part and not (last and missing):
            continue
        place.append(part)
    return tuple(place)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(the file)"


def _follows_from_another(detail: ErrorDetails, error: ValidationError) -> bool:
    """Return whether `detail` is only "too short" because the items of that list were refused."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and other["loc"] != place for other in error.errors()
    )


#: For what the validator says in words of its own language.
_PLAIN_WORDS = {
    "tuple_type": "give a list: one line that begins with - for each item",
    "path_type": "give a path, as text",
    "model_type": "give keys and values, indented under it",
    "model_attributes_type": "give keys and values, indented under it",
    "dict_type": "give keys and values, indented under it",
}
_PATTERNS = {
    NAME_PATTERN: "use 1 to 32 letters, digits, _ or -",
    SPARKPLUG_PATTERN: "use 1 to 64 characters, none of them + # or /",
}


def _problem(
    detail: ErrorDetails, lines: Mapping[Location, int], tree: Mapping[str, Any], schema: type[BaseModel]
) -> Problem:
    place = _location(detail, tree)
    line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)
    kind, received = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), _keys_of(schema), n=1)
        fix = f"did you mean {near[0]}?" if near else "remove it"
        return Problem(key=_dotted(place), line=line, what="no such key", fix=fix)
    if kind == "missing":
        return Problem(key=_dotted(place), line=line, what="is missing", fix=f"add {place[-1]}: ...")
    if kind == "value_error":  # ours: "what; fix", see schema.py
        what, _, fix = detail["msg"].removeprefix("Value error, ").partition("; ")
        return Problem(key=_dotted(place), line=line, what=what, fix=fix)
    if kind.startswith("union_tag"):
        tag = received.get("kind") if isinstance(received, dict) else received
        expected = str(
            detail.get("ctx", {}).get("expected_tags", "'file', 'folder', 'v4l2', 'rtsp', 'gstreamer'")
        )
        key = f"{_dotted(place)}.kind"
        return Problem(key=key, line=line, what=f"received {tag!r}", fix=f"use one of {expected}")
    shown = repr(received) if not isinstance(received, (dict, list)) else type(received).__name__
    pattern = str(detail.get("ctx", {}).get("pattern", ""))
    plain = detail["msg"][0].lower() + detail["msg"][1:]
    message = _PATTERNS.get(pattern) or _PLAIN_WORDS.get(kind) or plain
    return Problem(key=_dotted(place), line=line, what=f"received {shown[:80]}", fix=message)


def _keys_of(schema: type[BaseModel]) -> list[str]:
    """Return the names of all keys that the schema knows, in whatever section."""
    found: list[str] = []
    for name, info in schema.model_fields.items():
        found.append(name)
        for inner in _models_in(info.annotation):
            found += _keys_of(inner)
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)
