"""A model is two files: the network, and a manifest beside it that says what it is.

``NAME.json`` names the file with its size and SHA-256, what goes in and comes out, and, for a
recogniser, the preprocessing that it was trained with and the acceptance threshold with where that
came from. Nothing is loaded before its bytes have been counted and hashed: a model that was cut
short by a bad copy, exchanged or made for another preprocessing is refused with what was expected,
what was found and what to do, and is never a silent source of bad embeddings.

Unknown keys are allowed, so that training may write more than the box reads.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, cast

from edge_app.engines.engine import TensorSpec
from edge_app.errors import ModelError, PreprocessMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

RECOGNISER: Final = "recogniser"
DETECTOR: Final = "detector"
_KINDS: Final = (RECOGNISER, DETECTOR)
_SHA256_LENGTH: Final = 64
_READ_FIX: Final = "restore the model with its manifest from where it was released"


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What a model file is, as its manifest says.

    `path` is the model file itself (beside the manifest), `size` its bytes. `output_name`,
    `output_dim`, the preprocessing and the threshold are None for a detector. `threshold` is the
    cosine similarity (-1..1) from which on two faces are the same person, `threshold_source` on
    which people it was chosen. `golden` is what it says to the golden pictures, where that is recorded
    (`edge_app.engines.golden`).
    """

    name: str
    kind: str
    path: Path
    sha256: str
    size: int
    input: TensorSpec
    output_name: str | None = None
    output_dim: int | None = None
    preprocess_id: str | None = None
    preprocess_sha256: str | None = None
    threshold: float | None = None
    threshold_source: str | None = None
    golden: Mapping[str, Any] | None = None
    licence: str = ""
    training: Mapping[str, Any] | str = ""

    def verify(self) -> Path:
        """Compare the model file's size and SHA-256 with the manifest, and return its path.

        Raises:
            ModelError: it is missing, unreadable or not the file that the manifest describes.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"the model file {self.path} cannot be read: {error.strerror or error}", fix=_READ_FIX
            ) from error
        if len(content) != self.size:
            raise ModelError(
                f"the model file {self.path} has {len(content)} bytes; its manifest says {self.size}",
                fix=f"it was cut short or exchanged: {_READ_FIX}",
            )
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ModelError(
                f"the model file {self.path} is not the one its manifest describes: "
                f"expected sha256 {self.sha256}, received {found}",
                fix=f"it was altered or exchanged: {_READ_FIX}",
            )
        return self.path

    def require_kind(self, kind: str) -> None:
        """Refuse a model of another kind than `kind`.

        Raises:
            ModelError: a detector was given where a recogniser is needed, or the other way round.
        """
        if self.kind != kind:
            raise ModelError(
                f"a {kind} is needed here; received the {self.kind} {self.name!r} ({self.path})",
                fix=f"give the manifest of a {kind}",
            )

    def require_preprocess(self, *, preprocess_id: str, sha256: str) -> None:
        """Refuse a model that was trained with another preprocessing than this program's.

        Raises:
            PreprocessMismatch: the hashes differ.
        """
        if self.preprocess_sha256 != sha256:
            raise PreprocessMismatch(
                f"the model {self.name!r} was made with the preprocessing {self.preprocess_id!r} "
                f"({self.preprocess_sha256}); this program has {preprocess_id!r} ({sha256})",
                fix="use a model and a program of the same release, or train the model again",
            )


def load_manifest(path: Path) -> ModelManifest:
    """Return the manifest in the JSON file `path`; the model file itself is not looked at yet.

    Raises:
        ModelError: it is missing, no JSON object, or a key is missing or has a wrong value.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the manifest {path} cannot be read: {error.strerror or error}",
            fix="give the path of a model's NAME.json, which stands beside the model file",
        ) from error
    return parse_manifest(path, content)


def parse_manifest(path: Path, content: bytes) -> ModelManifest:
    """Return the manifest in `content`, the bytes of the file `path`.

    Raises:
        ModelError: it is no JSON object, or a key is missing or has a wrong value.
    """
    fields = _Fields(path, _read_object(path, content))
    kind = fields.one_of("kind", _KINDS)
    sha256 = fields.text("sha256").lower()
    if len(sha256) != _SHA256_LENGTH or set(sha256) - set("0123456789abcdef"):
        fields.refuse("sha256", sha256, "64 hexadecimal digits")
    common: dict[str, Any] = {
        "name": fields.text("name"),
        "kind": kind,
        "path": path.parent / fields.file_name("file"),
        "sha256": sha256,
        "size": fields.positive_int("bytes"),
        "input": fields.tensor("input"),
        "licence": str(fields.optional("licence") or ""),
        "training": fields.optional("training") or "",
    }
    return ModelManifest(**common, **(_recogniser_keys(fields) if kind == RECOGNISER else {}))


def _recogniser_keys(fields: _Fields) -> dict[str, Any]:
    threshold = fields.number("threshold")
    if not -1.0 <= threshold <= 1.0:
        fields.refuse("threshold", threshold, "a cosine similarity, -1..1")
    output, preprocess = fields.section("output"), fields.section("preprocess")
    return {
        "output_name": output.text("name"),
        "output_dim": output.positive_int("dim"),
        "preprocess_id": preprocess.text("id"),
        "preprocess_sha256": preprocess.text("sha256"),
        "threshold": threshold,
        "threshold_source": _as_text(fields.optional("threshold_source")),
        "golden": fields.optional_section("golden"),
    }


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _read_object(path: Path, text: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ModelError(f"the manifest {path} is not JSON: {error}", fix=_READ_FIX) from error
    if not isinstance(content, dict):
        raise ModelError(f"the manifest {path} is not a JSON object", fix=_READ_FIX)
    return content


class _Fields:
    """The keys of a manifest, each fetched with its check; every refusal names file and key."""

    def __init__(self, path: Path, content: Mapping[str, Any], prefix: str = "") -> None:
        self._path, self._content, self._prefix = path, content, prefix

    def refuse(self, key: str, received: object, expected: str) -> None:
        raise ModelError(
            f"the manifest {self._path}: {self._prefix}{key} must be {expected}; received {received!r}",
            fix=_READ_FIX,
        )

    def optional(self, key: str) -> Any:
        return self._content.get(key)

    def text(self, key: str) -> str:
        value = self.optional(key)
        if not isinstance(value, str) or not value:
            self.refuse(key, value, "a text")
        return cast("str", value)

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in choices:
            self.refuse(key, value, " or ".join(choices))
        return value

    def file_name(self, key: str) -> str:
        value = self.text(key)
        if PurePath(value).name != value or value == "..":
            self.refuse(key, value, "a file name without a folder")
        return value

    def positive_int(self, key: str) -> int:
        value = self.optional(key)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            self.refuse(key, value, "a whole number above 0")
        return cast("int", value)

    def number(self, key: str) -> float:
        value = self.optional(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            self.refuse(key, value, "a number")
        return float(cast("float", value))

    def optional_section(self, key: str) -> Mapping[str, Any] | None:
        value = self.optional(key)
        if value is not None and not isinstance(value, dict):
            self.refuse(key, value, "an object")
        return cast("Mapping[str, Any] | None", value)

    def section(self, key: str) -> _Fields:
        value = self.optional(key)
        if not isinstance(value, dict):
            self.refuse(key, value, "an object")
        return _Fields(self._path, cast("Mapping[str, Any]", value), f"{self._prefix}{key}.")

    def tensor(self, key: str) -> TensorSpec:
        """Return the tensor under `key`; an axis that is no whole number is dynamic."""
        inner = self.section(key)
        shape = inner.optional("shape")
        if not isinstance(shape, list) or not shape:
            inner.refuse("shape", shape, "a list of sizes, null for a dynamic one")
        axes = tuple(
            size if isinstance(size, int) and size > 0 else None for size in cast("list[Any]", shape)
        )
        return TensorSpec(name=inner.text("name"), shape=axes, dtype=inner.text("dtype"))
