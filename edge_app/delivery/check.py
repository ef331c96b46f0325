"""Just enough JSON Schema (2020-12) to hold events against `event.v1.schema.json` on the box.

The schema is the one source of what an event is, and the box reads it rather than a copy in Python.
A full validator would be a dependency with a Rust extension; the keywords that the schema uses fit on
a screen. A keyword that is not understood is an error when the schema is loaded, never ignored, and
the tests hold this module against a full validator.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOTES: Final = frozenset({"$schema", "$id", "title", "description", "examples", "$defs", "$comment"})
_KEYWORDS: Final = frozenset(
    {
        *("type", "const", "enum", "pattern", "maxLength", "minimum", "maximum", "required", "properties"),
        *("additionalProperties", "items", "allOf", "if", "then", "else", "$ref"),
    }
)
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}


def unknown_keywords(schema: object) -> set[str]:
    """Return the keywords of `schema`, at any depth, that `problems` would not obey."""
    if not isinstance(schema, dict):
        return set()
    found = set(schema) - _KEYWORDS - _NOTES
    for key in ("properties", "$defs"):
        for inner in schema.get(key, {}).values():
            found |= unknown_keywords(inner)
    for key in ("items", "if", "then", "else"):
        found |= unknown_keywords(schema.get(key))
    for inner in schema.get("allOf", []):
        found |= unknown_keywords(inner)
    return found


def problems(value: Any, schema: Any, *, root: Mapping[str, Any], at: str = "event") -> Iterator[str]:
    """Yield what is wrong with `value`, one sentence each; nothing when it fits `schema`.

    Args:
        value: a JSON value (tuples count as arrays).
        schema: a schema whose keywords are all known (see `unknown_keywords`).
        root: the document that ``$ref`` points into.
        at: the name of the value in the sentences.
    """
    if isinstance(schema, bool):
        if not schema:
            yield f"{at} must not be given"
        return
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        yield from problems(value, target, root=root, at=at)
    if "type" in schema and not _has_type(value, schema["type"]):
        yield f"{at} must be {schema['type']}; received {value!r:.60}"
        return
    yield from _scalar_problems(value, schema, at)
    if isinstance(value, dict):
        yield from _object_problems(value, schema, root, at)
    if isinstance(value, (list, tuple)) and "items" in schema:
        for index, inner in enumerate(value):
            yield from problems(inner, schema["items"], root=root, at=f"{at}[{index}]")
    for inner in schema.get("allOf", ()):
        yield from problems(value, inner, root=root, at=at)
    if "if" in schema:
        holds = next(problems(value, schema["if"], root=root, at=at), None) is None
        yield from problems(value, schema.get("then" if holds else "else", True), root=root, at=at)


def _has_type(value: object, names: str | list[str]) -> bool:
    wanted = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in wanted
    if isinstance(value, float) and not -1e308 < value < 1e308:  # noqa: PLR2004 - neither NaN nor infinite is JSON
        return False
    if isinstance(value, float) and value.is_integer() and "integer" in wanted:
        return True
    return any(isinstance(value, _TYPES[name]) for name in wanted)


def _scalar_problems(value: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    if "const" in schema and (
        value != schema["const"] or isinstance(value, bool) != isinstance(schema["const"], bool)
    ):
        yield f"{at} must be {schema['const']!r}; received {value!r:.60}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} must be one of {', '.join(map(str, schema['enum']))}; received {value!r:.60}"
    if isinstance(value, str):
        if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
            yield f"{at} must match {schema['pattern']}; received {value!r:.60}"
        if len(value) > schema.get("maxLength", len(value)):
            yield f"{at} must have at most {schema['maxLength']} characters; received {len(value)}"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"{at} must be at least {schema['minimum']}; received {value}"
        if value > schema.get("maximum", value):
            yield f"{at} must be at most {schema['maximum']}; received {value}"


def _object_problems(
    value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str
) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at} lacks {name}"
    known = schema.get("properties", {})
    for name, inner in value.items():
        if name in known:
            yield from problems(inner, known[name], root=root, at=f"{at}.{name}")
        elif schema.get("additionalProperties", True) is False:
            yield f"{at}.{name} is not a field of it"


@lru_cache(maxsize=64)
def _pattern(text: str) -> re.Pattern[str]:
    # ECMA's $ means the very end; Python's also allows a newline before it.
    return re.compile(text[:-1] + r"\Z" if text.endswith("$") else text)
