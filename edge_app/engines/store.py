"""The engines of this box, and which of them is in use.

A folder holds engines, each a plan with its manifest and its signature, and ``active.json``, which names
the one in use, the one before it, and those that proved bad with the reason. Only a rename changes it,
so a power cut leaves the old choice or the new one. Reading an engine checks everything that can be
checked before its bytes are handed to a runtime: signature, size, SHA-256, the header of the plan, the
model that it stands for, the GPU that it was built for. The bytes that were checked are those handed on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_app.engines.durable import replace_durably
from edge_app.engines.machine import find_gpu, find_l4t
from edge_app.engines.manifest import RECOGNISER, ModelManifest, parse_manifest
from edge_app.engines.signing import TrustedKey, check_signature
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ACTIVE: Final = "active.json"
#: A plan's first bytes, by its builder; the version stands in bytes 24 to 27.
_MAGIC: Final = {b"ftrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
_VERSION: Final = slice(24, 28)
_HEADER: Final = 28
_REBUILD: Final = "build it again here: dsr-engine build"


@dataclass(frozen=True, slots=True)
class EngineManifest:
    """What an engine is. `id` is its file's stem; `embeds_as` the SHA-256 of the FP32 model it stands for."""

    id: str
    model: ModelManifest
    embeds_as: str
    precision: str
    precision_wanted: str
    builder: str
    builder_version: str
    gpu: str | None
    compute_capability: str | None
    l4t: str | None
    golden: Mapping[str, Any]
    accepted: bool | None
    int8_mac_share: float | None

    def require_here(self) -> None:
        """Refuse an engine that was built for another GPU or another release of the board.

        Raises:
            ModelError: there is no GPU, or it is another one.
        """
        gpu = find_gpu()
        if gpu is None:
            raise ModelError(f"the engine {self.id} needs a GPU; the CUDA driver finds none here")
        if self.compute_capability not in (None, gpu.compute_capability) or self.gpu not in (None, gpu.name):
            raise ModelError(
                f"the engine {self.id} was built for {self.gpu or 'a GPU'} ({self.compute_capability}); "
                f"this box has {gpu.name} ({gpu.compute_capability})",
                fix=_REBUILD,
            )
        if self.l4t != find_l4t():
            raise ModelError(
                f"the engine {self.id} was built on L4T {self.l4t}; this box has L4T {find_l4t()}",
                fix=_REBUILD,
            )


@dataclass(frozen=True, slots=True)
class StoredEngine:
    """A checked engine: its manifest, the bytes of its plan, and whose key signed it."""

    manifest: EngineManifest
    plan: bytes = field(repr=False)
    signed_by: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine is in use, which was before it (None: no engine), and which proved bad and why.

    `went_back` says that this was the way back from a bad one, which is not to be compared with it.
    """

    active: str | None = None
    previous: str | None = None
    went_back: bool = False
    rejected: Mapping[str, str] = field(default_factory=dict)


class EngineStore:
    """The engines in `folder`, trusted when one of the `trusted` keys signed them."""

    def __init__(self, folder: Path, *, trusted: tuple[TrustedKey, ...]) -> None:
        self.folder = folder
        self.trusted = trusted

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all engines in the folder, sound or not."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.json") if path.name != _ACTIVE))

    def path(self, engine_id: str) -> Path:
        """Return the manifest's path of an engine.

        Raises:
            ModelError: there is no such engine.
        """
        path = self.folder / f"{engine_id}.json"
        if engine_id not in self.ids():
            raise ModelError(
                f"there is no engine {engine_id!r} in {self.folder}",
                fix=f"choose one of: {', '.join(self.ids()) or 'none; dsr-engine build makes one'}",
            )
        return path

    def read(self, engine_id: str) -> StoredEngine:
        """Return an engine after every check that needs no GPU.

        Raises:
            NotSigned: no trusted key signed its manifest.
            ModelError: it is missing, damaged, no plan, or was refused when its accuracy was measured.
        """
        path = self.path(engine_id)
        content = _bytes_of(path)
        signed_by = check_signature(path, content, self.trusted)
        manifest = engine_manifest(path, content)
        if manifest.accepted is False:
            raise ModelError(
                f"the engine {engine_id} was refused: its accuracy is below the gate (see its manifest)",
                fix="calibrate and quantise again",
            )
        plan = _bytes_of(manifest.model.path)
        if len(plan) != manifest.model.size or hashlib.sha256(plan).hexdigest() != manifest.model.sha256:
            raise ModelError(
                f"the plan {manifest.model.path} ({len(plan)} bytes) is not the one of its manifest",
                fix=f"it was cut short or altered: {_REBUILD}",
            )
        require_header(plan, manifest)
        return StoredEngine(manifest=manifest, plan=plan, signed_by=signed_by)

    def choice(self) -> Choice:
        """Return which engine is in use; none where nothing was chosen yet or the file is damaged."""
        try:
            found = json.loads((self.folder / _ACTIVE).read_text(encoding="utf-8"))
            return Choice(**found | {"rejected": dict(found["rejected"])})
        except (OSError, ValueError, KeyError, TypeError):
            return Choice()

    def activate(self, engine_id: str | None) -> Choice:
        """Take an engine into use (None: none, the CPU runs the model); returns the new choice."""
        before = self.choice()
        if before.active == engine_id:
            return before
        rejected = {key: why for key, why in before.rejected.items() if key != engine_id}
        back = engine_id is None
        return self._write(Choice(engine_id, previous=before.active, went_back=back, rejected=rejected))

    def rollback(self) -> Choice:
        """Go back to the engine before, or to the CPU if there was none; returns the new choice.

        Raises:
            ModelError: the CPU is in use and no engine was before.
        """
        before = self.choice()
        if before.active is None and before.previous is None:
            raise ModelError(
                "there is no engine to go back to: the CPU runs the recogniser, and no engine ran before",
                fix="take one into use: `dsr-edge engine list`, then `dsr-edge engine activate NAME`",
            )
        return self._write(Choice(before.previous, went_back=True, rejected=before.rejected))

    def reject(self, engine_id: str, reason: str) -> Choice:
        """Note that an engine proved bad, and if it is in use go back to the one before it."""
        before = self.choice()
        rejected = {**before.rejected, engine_id: reason}
        if before.active != engine_id:
            return self._write(dataclasses.replace(before, rejected=rejected))
        back = None if before.previous in rejected else before.previous
        return self._write(Choice(back, went_back=True, rejected=rejected))

    def _write(self, choice: Choice) -> Choice:
        content = json.dumps(dataclasses.asdict(choice), indent=1) + "\n"
        replace_durably(self.folder / _ACTIVE, content.encode())
        return choice


def engine_manifest(path: Path, content: bytes) -> EngineManifest:
    """Return the engine's manifest in `content`, the bytes of the file `path`.

    Raises:
        ModelError: it is no manifest of an engine.
    """
    model = parse_manifest(path, content)
    model.require_kind(RECOGNISER)
    found = json.loads(content)
    try:
        builder, accuracy = found["builder"], found.get("accuracy") or {}
        return EngineManifest(
            id=path.stem,
            model=model,
            embeds_as=str(found["embeds_as"]),
            precision=str(found["precision"]),
            precision_wanted=str(found["precision_wanted"]),
            builder=str(builder["name"]),
            builder_version=str(builder["version"]),
            gpu=builder.get("gpu"),
            compute_capability=builder.get("compute_capability"),
            l4t=builder.get("l4t"),
            golden=dict(found["golden"]),
            accepted=accuracy.get("accepted"),
            int8_mac_share=(found.get("layers") or {}).get("int8_mac_share"),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"{path} is no manifest of an engine: {error!r}", fix=_REBUILD) from error


def plan_version(plan: bytes) -> tuple[str, str] | None:
    """Return builder and version (``tensorrt-rtx``, ``1.7.1.116``) from a plan's header; None for no plan."""
    builder = _MAGIC.get(plan[:4])
    if builder is None or len(plan) < _HEADER:
        return None
    return builder, ".".join(str(number) for number in plan[_VERSION])


def require_header(plan: bytes, manifest: EngineManifest) -> None:
    """Refuse bytes that are no plan, or a plan of another builder than the manifest says.

    Raises:
        ModelError: they are not what the manifest says.
    """
    found = plan_version(plan)
    if found is None:
        raise ModelError(
            f"{manifest.model.path} is no TensorRT plan; it starts with {plan[:4]!r}", fix=_REBUILD
        )
    builder, version = found
    if builder != manifest.builder or version.split(".")[:3] != manifest.builder_version.split(".")[:3]:
        raise ModelError(
            f"{manifest.model.path} is a plan of {builder} {version}; "
            f"its manifest says {manifest.builder} {manifest.builder_version}",
            fix=_REBUILD,
        )


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}", fix=_REBUILD) from error
