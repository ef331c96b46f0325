"""Everything about engines that needs a GPU, in one run: ``make test-gpu``.

On an x86 machine with an NVIDIA GPU, or on a Jetson, with TensorRT or TensorRT-RTX and pycuda: builds
each type for this GPU, signs and reads it as the box does, holds its golden embeddings and 32 pictures
against the FP32 model on the CPU, and measures batches of 1 to 8 with and without a CUDA graph. Beside it
stand the same graphs in ONNX Runtime's CUDA provider, where ``onnxruntime-gpu`` is installed. Exit status 3,
and a word, where there is nothing to test with: a check that did not run is no check passed.

Has not run on a device yet; what it says without one is tested.
"""

# ruff: noqa: T201, PERF203 -- it is a command line, and a builder that fails must not end it

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from build_engine.build import BuildOptions, build_engine
from build_engine.trt_api import TENSORRT, TENSORRT_RTX, Toolkit
from edge_app.embedding.opening import recogniser_manifest, require_golden
from edge_app.engines.golden import golden_batch
from edge_app.engines.machine import find_gpu
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.engines.signing import TrustedKey, make_key, sign
from edge_app.engines.store import EngineStore
from edge_app.engines.tensorrt_engine import open_plan
from edge_app.errors import DsrError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

#: Nothing could be tested.
NOTHING: Final = 3
#: Least cosine to the FP32 model over the pictures, by type.
LEAST: Final = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.95}
_BATCHES: Final = (1, 2, 4, 8)
_ROUNDS: Final = 200
_PICTURES: Final = 32
_CUDA: Final = "CUDAExecutionProvider"


def pictures() -> npt.NDArray[np.float32]:
    """Return the golden pictures under 16 lights each, (32, 3, 224, 224) float32 in -1..1."""
    lights = np.linspace(0.4, 1.15, _PICTURES // 2, dtype=np.float32)
    lit = [np.clip((golden_batch() + 1) * light - 1, -1, 1) for light in lights]
    return np.concatenate(lit).astype(np.float32)


def check(toolkit: Toolkit, model: Path, precision: str, folder: Path) -> bool:
    """Build one engine, run it, print what was measured; returns whether it is right.

    Raises:
        ModelError: it cannot be built or opened.
    """
    out = folder / f"{toolkit.name}-{precision}"
    result = build_engine(
        toolkit, BuildOptions(model=model, out=out, precision=precision), say=lambda text: print(f"  {text}")
    )
    public = make_key(out / "box.key")
    sign(result.manifest, out / "box.key")
    stored = EngineStore(out, trusted=(TrustedKey("box", public),)).read(result.manifest.stem)
    manifest = recogniser_manifest(model)
    reference = OnnxEngine(manifest.verify())
    wanted = np.concatenate([reference.run(one[None])[0] for one in pictures()])
    right = True
    for graphs in (True, False):
        engine = open_plan(stored, graphs=graphs)
        golden = require_golden(engine, manifest, stored.manifest.golden)
        found = np.concatenate([engine.run(pictures()[i : i + 8])[0] for i in range(0, _PICTURES, 8)])
        cosine = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
        good = bool(cosine.min() >= LEAST[precision])
        right &= good
        how = "CUDA graph" if graphs else "kernel by kernel"
        print(
            f"  {stored.manifest.id}, {how}: golden {golden:.5f}, cosine mean {cosine.mean():.5f} "
            f"least {cosine.min():.5f} (at least {LEAST[precision]}): {'right' if good else 'WRONG'}"
        )
        for batch in _BATCHES:
            median, p99 = latency(engine.run, pictures()[:batch])
            print(f"    batch {batch}: median {median:.3f} ms, p99 {p99:.3f} ms")
        engine.close()
    return right


def other_runtime(model: Path, providers: Sequence[str] | None = None) -> bool:
    """Measure the graphs beside the FP32 model `model` in another GPU runtime; returns whether there is one.

    `providers` are those that ONNX Runtime has here, unless given.
    """
    import onnxruntime

    have = onnxruntime.get_available_providers() if providers is None else providers
    if _CUDA not in have:
        print(f"no other GPU runtime: ONNX Runtime has {', '.join(have)} here; pip install onnxruntime-gpu")
        return False
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for path in (model.with_suffix(".onnx"), model.with_name(f"{model.stem}.qdq-fp32.onnx")):
        if not path.exists():
            print(f"  {path.name}: not measured, it is not there")
            continue
        session = onnxruntime.InferenceSession(str(path), options, providers=[_CUDA, "CPUExecutionProvider"])
        run = functools.partial(_run, session, session.get_inputs()[0].name)
        print(f"  {path.name} in ONNX Runtime {onnxruntime.__version__}, {session.get_providers()[0]}")
        for batch in _BATCHES:
            median, p99 = latency(run, pictures()[:batch])
            print(f"    batch {batch}: median {median:.3f} ms, p99 {p99:.3f} ms")
    return True


def _run(session: Any, name: str, batch: npt.NDArray[np.float32]) -> object:
    return session.run(None, {name: batch})


def latency(
    run: Callable[[npt.NDArray[np.float32]], object], batch: npt.NDArray[np.float32]
) -> tuple[float, float]:
    """Return median and 99th percentile of `run` on `batch`, milliseconds, host to host."""
    taken = []
    for number in range(_ROUNDS + 20):
        start = time.perf_counter_ns()
        run(batch)
        if number >= 20:  # noqa: PLR2004 -- the first ones warm up
            taken.append((time.perf_counter_ns() - start) / 1e6)
    return float(np.median(taken)), float(np.percentile(taken, 99))


def main(argv: Sequence[str] | None = None) -> int:
    """Check every builder and type that there is; 0 all right, 1 something is wrong, 3 nothing was tested."""
    parser = argparse.ArgumentParser(
        prog="python -m build_engine.gpu_check", description="Test engines on a GPU."
    )
    parser.add_argument("--model", type=Path, default=Path("models/dsr_inception.json"))
    arguments = parser.parse_args(argv)
    gpu = find_gpu()
    if gpu is None:
        print("NOTHING was tested: the CUDA driver finds no GPU here", file=sys.stderr)
        return NOTHING
    print(f"{gpu.name}, compute capability {gpu.compute_capability}, CUDA {gpu.cuda}")
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        for name in (TENSORRT, TENSORRT_RTX):
            try:
                toolkit = Toolkit(name)
            except ModelError as error:
                print(f"{name}: not tested: {error.what}")
                continue
            print(f"{name} {toolkit.version}")
            for precision in LEAST:
                try:
                    verdicts.append(check(toolkit, arguments.model, precision, Path(folder)))
                except DsrError as error:
                    print(f"  {precision}: {error}")
                    verdicts.append(False)
    other_runtime(arguments.model)
    if not verdicts:
        print("NOTHING was tested: neither TensorRT nor TensorRT-RTX is installed", file=sys.stderr)
        return NOTHING
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
