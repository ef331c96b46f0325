"""Build an engine, once, and leave it whole or not at all.

A build takes seconds to a quarter of an hour and happens on a box that may lose power. It is told apart
by its fingerprint: the same inputs are not built twice, and when something changed the reason is given.
One build runs at a time. The plan is written aside, synced and renamed, and the manifest that makes it
an engine comes last, so whoever is killed half way leaves the old engine as it was.

A board short of memory gets less workspace and another try. INT8 that fails becomes FP16 only when that
is allowed, and then the manifest says both what was wanted and what it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from build_engine import fingerprint as fingerprints
from build_engine.inspect import inspect
from build_engine.layers import parse_layers
from build_engine.sources import Source, find_source, load_model
from build_engine.trt_api import BuildRequest, Built
from edge_app.engines.durable import replace_durably
from edge_app.errors import BuildFailed, ModelError, NotInt8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from build_engine.trt_api import Toolkit

#: Less than this much free memory and the builder is not started, MiB.
MIN_FREE_MIB: Final = 400
#: The smallest workspace that is tried, MiB.
MIN_WORKSPACE_MIB: Final = 64
_MAX_WORKSPACE_MIB: Final = 1024
_SHORT: Final = 8
_LOCK: Final = ".build.lock"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What ``dsr-engine build`` is told.

    `cache` None keeps the timing cache beside the engines; `size` is a detector's picture, (width, height).
    """

    model: Path
    out: Path
    precision: str = "int8"
    target: str | None = None
    dla_core: int | None = None
    max_batch: int = 8
    workspace_mib: int | None = None
    cache: Path | None = None
    allow_fp16: bool = False
    force: bool = False
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The engine's manifest, whether it was built now, and why."""

    manifest: Path
    built: bool
    reason: str
    seconds: float = 0.0


def build_engine(
    toolkit: Toolkit,
    options: BuildOptions,
    *,
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
    calibrator: Any = None,
) -> BuildResult:
    """Build the engine that `options` describe, unless it is there already.

    Args:
        toolkit: TensorRT or TensorRT-RTX.
        options: what to build, from what and into which folder.
        say: told in words what happens.
        now: the monotonic clock, seconds.
        calibrator: for implicit INT8 (DLA).

    Raises:
        ModelError: an input is missing or altered, a folder cannot be written, another build runs, there
            is too little memory, or the builder gave up. The engines that are there stay as they are.
    """
    source = find_source(
        options.model,
        precision=options.precision,
        strong=toolkit.strongly_typed,
        implicit=calibrator is not None,
    )
    request = _request(options, calibrator)
    with _only_build(options.out):
        record = _record(source, request, toolkit)
        present, reason = _present(options, source, record)
        if present is not None and not options.force:
            return BuildResult(manifest=present, built=False, reason="nothing changed")
        say(f"building {source.name} {options.precision} with {toolkit.name} {toolkit.version}: {reason}")
        started = now()
        try:
            _require_not_refused(source)
            manifest = _build(toolkit, source, request, options, say=say)
        except (BuildFailed, NotInt8) as error:
            if options.precision != "int8" or not options.allow_fp16:
                raise
            say(f"INT8 failed: {error.what}; building FP16 instead, as --allow-fp16 allows")
            manifest = _build_fp16(toolkit, options, because=error.what, say=say)
        return BuildResult(manifest=manifest, built=True, reason=reason, seconds=now() - started)


def _require_not_refused(source: Source) -> None:
    """Refuse a graph that the gate has refused: its engine would be no better.

    Raises:
        BuildFailed: its verdict, recorded by ``dsr-engine verify --record``, is a refusal.
    """
    accuracy = source.manifest.get("accuracy")
    if isinstance(accuracy, dict) and accuracy.get("accepted") is False:
        lines = accuracy.get("gate") or []
        failed = ", ".join(str(line.get("name")) for line in lines if not line.get("passed"))
        raise BuildFailed(
            f"{source.path.name} was refused when its accuracy was measured: {failed or 'see its manifest'}",
            fix="quantise better (docs/calibration.md), or --precision fp16",
        )


def _build_fp16(toolkit: Toolkit, options: BuildOptions, *, because: str, say: Callable[[str], None]) -> Path:
    wanted = dataclasses.replace(options, precision="fp16", dla_core=None)
    source = find_source(options.model, precision="fp16", strong=toolkit.strongly_typed, implicit=False)
    extra = {"precision_wanted": "int8", "fallback_reason": because}
    return _build(toolkit, source, _request(wanted, None), wanted, say=say, extra=extra)


def _request(options: BuildOptions, calibrator: Any) -> BuildRequest:
    return BuildRequest(
        precision=options.precision,
        max_batch=options.max_batch,
        workspace_mib=options.workspace_mib,
        target=options.target,
        dla_core=options.dla_core,
        calibrator=calibrator,
        size=options.size,
    )


def _record(source: Source, request: BuildRequest, toolkit: Toolkit) -> dict[str, Any]:
    return fingerprints.fingerprint_of(
        source.manifest, embeds_as=source.embeds_as, request=request, toolkit=toolkit
    )


def _present(options: BuildOptions, source: Source, record: dict[str, Any]) -> tuple[Path | None, str]:
    """Return the engine that is already what `record` says, if any, and why one must be built otherwise."""
    others: list[tuple[float, dict[str, Any]]] = []
    for path in sorted(options.out.glob(f"{source.name}.{options.precision}-*.json")):
        with contextlib.suppress(OSError, ValueError):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(manifest, dict) or "fingerprint" not in manifest:
                continue
            if manifest["fingerprint"] != record:
                others.append((path.stat().st_mtime, manifest["fingerprint"]))
            elif _plan_is_whole(path.parent / str(manifest.get("file")), manifest):
                return path, "asked for with --force"
            else:
                return None, f"the plan of {path.stem} is missing or damaged"
    if not others:
        return None, "there is none yet"
    newest = max(others, key=lambda one: one[0])[1]
    return None, "; ".join(fingerprints.differences(newest, record)) or "the engine's format changed"


def _plan_is_whole(path: Path, manifest: dict[str, Any]) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == manifest.get("sha256")
    except OSError:
        return False


def _build(
    toolkit: Toolkit,
    source: Source,
    request: BuildRequest,
    options: BuildOptions,
    *,
    say: Callable[[str], None],
    extra: dict[str, Any] | None = None,
) -> Path:
    model = load_model(source, size=request.size)
    record = _record(source, request, toolkit)
    cache = _timing_cache_path(options, record)
    built = _with_less_workspace(
        toolkit, model, dataclasses.replace(request, timing_cache=_read_cache(cache)), say=say
    )
    table = built.layer_text
    inspection = inspect(model, parse_layers(table))
    if request.precision == "int8":
        inspection.require_int8()
    _keep_cache(cache, built.timing_cache, say=say)
    stem = f"{source.name}.{request.precision}-{fingerprints.fingerprint_hash(record)[:_SHORT]}"
    manifest = _manifest(source, request, built, stem) | {
        "builder": {
            "name": toolkit.name,
            "version": toolkit.version,
            **{key: record[key] for key in ("gpu", "compute_capability", "cuda", "l4t")},
            "target": request.target,
        },
        "fingerprint": record,
        "layers": inspection.record(),
    }
    rows = [layer.record() for layer in parse_layers(table)]
    replace_durably(options.out / f"{stem}.plan", built.plan)
    replace_durably(options.out / f"{stem}.layers", json.dumps(rows).encode())
    path = options.out / f"{stem}.json"
    replace_durably(path, (json.dumps(manifest | (extra or {}), indent=1) + "\n").encode())
    return path


def _manifest(source: Source, request: BuildRequest, built: Built, stem: str) -> dict[str, Any]:
    taken = (
        "input",
        "output",
        "outputs",
        "preprocess",
        "threshold",
        "threshold_source",
        "licence",
        "training",
    )
    return {
        "name": source.name,
        "kind": source.manifest["kind"],
        "file": f"{stem}.plan",
        "sha256": hashlib.sha256(built.plan).hexdigest(),
        "bytes": len(built.plan),
        **{key: source.manifest[key] for key in taken if key in source.manifest},
        "model_sha256": source.manifest["sha256"],
        "embeds_as": source.embeds_as,
        "scales_sha256": source.manifest.get("scales_sha256"),
        "calibration_manifest_sha256": source.manifest.get("calibration_manifest_sha256"),
        "precision": request.precision,
        "precision_wanted": request.precision,
        "max_batch": request.max_batch,
        "dla_core": request.dla_core,
        "golden": source.golden,
        "graph_accuracy": source.manifest.get("accuracy"),
        **({} if request.size is None else {"size": list(request.size)}),
    }


def _with_less_workspace(
    toolkit: Toolkit, model: bytes, request: BuildRequest, *, say: Callable[[str], None]
) -> Built:
    """Build, and where memory runs out build again with half the workspace, down to the smallest.

    Raises:
        BuildFailed: there is too little memory, or the builder gave up for another reason.
    """
    free = free_mib()
    if free is not None and free < MIN_FREE_MIB:
        raise BuildFailed(
            f"{free} MiB of memory are free; building needs at least {MIN_FREE_MIB}",
            fix="stop what else runs (sudo systemctl stop dsr-edge), or add swap, and build again",
            out_of_memory=True,
        )
    workspace = request.workspace_mib
    if workspace is None and free is not None:
        workspace = max(MIN_WORKSPACE_MIB, min(_MAX_WORKSPACE_MIB, free // 4))
    while True:
        try:
            wanted = dataclasses.replace(request, workspace_mib=workspace)
            return toolkit.build(model, wanted, on_message=say)
        except BuildFailed as error:  # noqa: PERF203 -- a build takes minutes
            if not error.out_of_memory or workspace is None or workspace <= MIN_WORKSPACE_MIB:
                raise
            workspace = max(MIN_WORKSPACE_MIB, workspace // 2)
            say(f"out of memory; trying again with a workspace of {workspace} MiB")


def free_mib(path: Path = Path("/proc/meminfo")) -> int | None:
    """Return how many MiB of memory can be had without swapping, None where Linux does not say."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return None


@contextlib.contextmanager
def _only_build(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, and clear away what a killed build left.

    Raises:
        ModelError: another build holds it, or the folder cannot be written (said before the long work).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise ModelError(
            f"the engines' folder {folder} cannot be written: {error.strerror or error}",
            fix="make it writable for this user, or choose another --out, or every start would rebuild",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise ModelError(
                f"another build runs in {folder} (process {lock.read().strip() or 'unknown'})",
                fix="wait for it, or end it",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        for left in folder.glob("*.tmp"):
            left.unlink(missing_ok=True)
        yield


def _timing_cache_path(options: BuildOptions, record: dict[str, Any]) -> Path:
    """Return the timing cache's file: of one builder on one GPU, since no other's may be used."""
    keys = ("builder", "builder_version", "gpu", "compute_capability", "cuda", "l4t")
    name = fingerprints.fingerprint_hash({key: record[key] for key in keys})[:_SHORT]
    return (options.cache or options.out) / f"timing-{name}.cache"


def _keep_cache(path: Path, content: bytes, *, say: Callable[[str], None]) -> None:
    """Keep the timing cache; one that cannot be written costs the next build time, and no engine."""
    if not content:
        return
    try:
        replace_durably(path, content)
    except ModelError as error:
        say(f"the timing cache was not kept: {error.what}")


def _read_cache(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
