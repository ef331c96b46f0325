"""Everything about engines that needs a GPU, in one run: ``make test-gpu``.

On an x86 machine with an NVIDIA GPU, or on a Jetson, with TensorRT or TensorRT-RTX and pycuda: builds
each type for this GPU, signs and reads it as the box does, holds its golden embeddings and 32 pictures
(``--pictures``: real faces) against the FP32 model on the CPU, and measures batches of 1 to 8 with and
without a CUDA graph. Beside it stands the same network in other GPU runtimes: ONNX Runtime's CUDA provider,
where ``onnxruntime-gpu`` is installed, and Keras on jax with ``--keras``. Exit status 3, and a word, where
there is nothing to test with: a check that did not run is no check passed.

``--out`` keeps a record in JSON that is written again before every step, so that a run that is cut short, or
a runtime that takes the process with it, leaves what was measured and where it stopped.

Has not run on a device yet; what it says without one is tested.
"""

# ruff: noqa: T201 -- it is a command line

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from build_engine.build import BuildOptions, build_engine
from build_engine.gpu_peers import cosines, keras_jax, latencies, onnxruntime_cuda
from build_engine.trt_api import TENSORRT, TENSORRT_RTX, Toolkit
from edge_app.embedding.opening import recogniser_manifest, require_golden
from edge_app.engines.golden import golden_batch
from edge_app.engines.machine import find_gpu
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.engines.signing import TrustedKey, make_key, sign
from edge_app.engines.store import EngineStore, StoredEngine
from edge_app.engines.tensorrt_engine import open_plan
from edge_app.errors import DsrError, ModelError
from edge_app.faces.preprocess import CROP_SIZE, normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    Batch = npt.NDArray[np.float32]

#: Nothing could be tested.
NOTHING: Final = 3
#: Least cosine to the FP32 model over the pictures, by type.
LEAST: Final = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.95}
_ROUNDS: Final = 200
_PICTURES: Final = 32
_MOST: Final = 8


@dataclass(slots=True)
class Record:
    """What was found, kept in the file `path` (None: nowhere) as it grows."""

    path: Path | None = None
    content: dict[str, Any] = field(default_factory=lambda: {"engines": [], "others": []})

    def save(self) -> None:
        """Write it, whole or not at all."""
        if self.path is not None:
            new = self.path.with_name(f"{self.path.name}.new")
            new.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
            new.replace(self.path)

    def engine(self, **what: Any) -> dict[str, Any]:
        """Return a new engine's entry; its ``step`` is the one that was begun last."""
        self.content["engines"].append({**what, "verdict": "not finished", "step": "build"})
        return self.content["engines"][-1]  # type: ignore[no-any-return]

    def begin(self, entry: dict[str, Any], step: str) -> None:
        """Note in `entry` that `step` begins."""
        entry["step"] = step
        self.save()


def pictures() -> Batch:
    """Return the golden pictures under 16 lights each, (32, 3, 224, 224) float32 in -1..1."""
    lights = np.linspace(0.4, 1.15, _PICTURES // 2, dtype=np.float32)
    lit = [np.clip((golden_batch() + 1) * light - 1, -1, 1) for light in lights]
    return np.concatenate(lit).astype(np.float32)


def read_pictures(path: Path) -> Batch:
    """Return the aligned crops in the file `path`, (N, 3, 224, 224) float32 in -1..1.

    Raises:
        ModelError: it is no ``.npy`` file of at least eight crops, (N, 224, 224, 3) uint8 RGB.
    """
    try:
        crops = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"{path} cannot be read: {error}", fix="give a file made by numpy.save") from error
    side = (CROP_SIZE, CROP_SIZE, 3)
    if crops.dtype != np.uint8 or crops.shape[1:] != side or len(crops) < _MOST:
        raise ModelError(
            f"{path} holds {crops.shape} {crops.dtype}; expected (N, {CROP_SIZE}, {CROP_SIZE}, 3) uint8, "
            f"N at least {_MOST}",
            fix="save aligned crops, as edge_app.faces.preprocess.align returns them",
        )
    return np.ascontiguousarray(normalise(crops).transpose(0, 3, 1, 2))


def reference(model: Path, shown: Batch) -> Batch:
    """Return what the FP32 model says to the pictures `shown`, on the CPU."""
    engine = OnnxEngine(recogniser_manifest(model).verify())
    return np.concatenate([engine.run(one[None])[0] for one in shown])


@contextlib.contextmanager
def heard(lines: list[str]) -> Iterator[None]:
    """Add to `lines` what is written to standard error meanwhile, by libraries too; it is passed on."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as kept:
            os.dup2(kept.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(saved, 2)
                kept.seek(0)
                text = kept.read()
                os.write(2, text)
                lines.extend(text.decode(errors="replace").splitlines())
    finally:
        os.close(saved)


@dataclass(frozen=True, slots=True)
class Check:
    """What every engine is held against: the FP32 model `model`, and `wanted`, its words to `shown`."""

    model: Path
    shown: Batch
    wanted: Batch
    rounds: int = _ROUNDS
    record: Record = field(default_factory=Record)

    def engine(self, toolkit: Toolkit, precision: str, folder: Path) -> bool:
        """Build one engine, run it, print what was measured; returns whether it is right."""
        entry = self.record.engine(builder=toolkit.name, version=toolkit.version, precision=precision)
        said: list[str] = []
        try:
            with heard(said):
                right = self._engine(toolkit, precision, folder, entry)
        except DsrError as error:
            print(f"  {precision}, {entry['step']}: {error}")
            entry |= {"verdict": "failed", "error": str(error)}
            right = False
        else:
            entry |= {"verdict": "right" if right else "wrong"}
        entry["said"] = said
        self.record.save()
        return right

    def _engine(self, toolkit: Toolkit, precision: str, folder: Path, entry: dict[str, Any]) -> bool:
        self.record.begin(entry, "build")
        started = time.monotonic()
        stored = build(toolkit, self.model, precision, folder / f"{toolkit.name}-{precision}")
        entry |= {
            "id": stored.manifest.id,
            "plan_bytes": len(stored.plan),
            "build_seconds": round(time.monotonic() - started, 2),
            "runs": [],
        }
        good = [self._run(stored, entry, graphs=graphs) for graphs in (True, False)]  # both, whatever comes
        return all(good)

    def _run(self, stored: StoredEngine, entry: dict[str, Any], *, graphs: bool) -> bool:
        self.record.begin(entry, "open")
        engine = open_plan(stored, graphs=graphs)
        try:
            self.record.begin(entry, "golden pictures")
            golden = require_golden(engine, recogniser_manifest(self.model), stored.manifest.golden)
            self.record.begin(entry, "pictures")
            parts = [engine.run(self.shown[i : i + _MOST])[0] for i in range(0, len(self.shown), _MOST)]
            cosine = cosines(np.concatenate(parts), self.wanted)
            least = LEAST[stored.manifest.precision]
            good = bool(cosine.min() >= least)
            how = "CUDA graph" if graphs else "kernel by kernel"
            print(
                f"  {stored.manifest.id}, {how}: golden {golden:.5f}, cosine mean {cosine.mean():.5f} "
                f"least {cosine.min():.5f} (at least {least}): {'right' if good else 'WRONG'}"
            )
            run: dict[str, Any] = {
                "cuda_graph": graphs,
                "golden": round(golden, 6),
                "cosine_mean": round(float(cosine.mean()), 6),
                "cosine_least": round(float(cosine.min()), 6),
                "latency": [],
            }
            entry["runs"].append(run)
            self.record.begin(entry, "time")
            for row in latencies(engine.run, self.shown, rounds=self.rounds):
                run["latency"].append(row)
                self.record.save()
        finally:
            engine.close()
        return good

    def others(self, keras: Path | None) -> None:
        """Measure the network in the other runtimes that there are, in Keras' if its file is given."""
        self._keep(onnxruntime_cuda(self.model, self.shown, rounds=self.rounds))
        if keras is not None:
            try:
                self._keep(keras_jax(keras, self.shown, self.wanted, rounds=self.rounds))
            except ModelError as error:
                print(f"  {keras.name}: not measured: {error.what}")

    def _keep(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self.record.content["others"].append(row)
            self.record.save()


def build(toolkit: Toolkit, model: Path, precision: str, out: Path) -> StoredEngine:
    """Build an engine into the folder `out`, sign it with a key of its own, and read it as the box does.

    Raises:
        ModelError: it cannot be built.
    """
    options = BuildOptions(model=model, out=out, precision=precision)
    result = build_engine(toolkit, options, say=lambda text: print(f"  {text}", flush=True))
    public = make_key(out / "box.key")
    sign(result.manifest, out / "box.key")
    return EngineStore(out, trusted=(TrustedKey("box", public),)).read(result.manifest.stem)


def engines(check: Check) -> list[bool]:
    """Check every builder and type that there is; returns whether each is right."""
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        for name in (TENSORRT, TENSORRT_RTX):
            try:
                toolkit = Toolkit(name)
            except ModelError as error:
                print(f"{name}: not tested: {error.what}")
                check.record.content[name] = f"not tested: {error.what}"
                continue
            print(f"{name} {toolkit.version}")
            verdicts += [check.engine(toolkit, precision, Path(folder)) for precision in LEAST]
    return verdicts


def main(argv: Sequence[str] | None = None) -> int:
    """Check every builder and type that there is; 0 all right, 1 something is wrong, 3 nothing was tested."""
    arguments = _parser().parse_args(argv)
    gpu = find_gpu()
    if gpu is None:
        print("NOTHING was tested: the CUDA driver finds no GPU here", file=sys.stderr)
        return NOTHING
    print(f"{gpu.name}, compute capability {gpu.compute_capability}, CUDA {gpu.cuda}")
    record = Record(arguments.out)
    record.content |= {
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "cuda": gpu.cuda,
        "python": platform.python_version(),
        "pictures": str(arguments.pictures or "golden pictures under 16 lights"),
        "rounds": arguments.rounds,
    }
    try:
        shown = pictures() if arguments.pictures is None else read_pictures(arguments.pictures)
        wanted = reference(arguments.model, shown)
    except DsrError as error:
        print(error, file=sys.stderr)
        return 1
    check = Check(arguments.model, shown, wanted, rounds=arguments.rounds, record=record)
    verdicts = engines(check) if arguments.only != "others" else []
    if arguments.only != "engines":
        check.others(arguments.keras)
    record.save()
    if arguments.only == "others":
        return 0 if record.content["others"] else NOTHING
    if not verdicts:
        print("NOTHING was tested: neither TensorRT nor TensorRT-RTX is installed", file=sys.stderr)
        return NOTHING
    return 0 if all(verdicts) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m build_engine.gpu_check", description="Test engines on a GPU."
    )
    parser.add_argument("--model", type=Path, default=Path("models/dsr_inception.json"))
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FILE.npy",
        help="aligned crops to compare on, (N, 224, 224, 3) uint8 RGB (default: drawn ones)",
    )
    parser.add_argument(
        "--keras", type=Path, metavar="FILE.keras", help="measure this model in Keras on jax too"
    )
    parser.add_argument("--only", choices=("engines", "others"), help="leave the rest out")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="timed runs a batch (default: 200)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="keep a record")
    return parser


if __name__ == "__main__":
    sys.exit(main())
