"""The same network in other GPU runtimes, for `build_engine.gpu_check` to set beside the engines.

ONNX Runtime's CUDA provider runs the very graphs; Keras on jax runs the Keras model as XLA compiles it, in
float32 and in bfloat16. Both are timed like an engine, host to host.
"""

# ruff: noqa: T201 -- `gpu_check`'s words

from __future__ import annotations

import functools
import importlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Batch = npt.NDArray[np.float32]
    Run = Callable[[Batch], Any]

BATCHES: Final = (1, 2, 4, 8)
TYPES: Final = ("float32", "bfloat16")
_CUDA: Final = "CUDAExecutionProvider"
_WARM: Final = 20


def latency(run: Run, batch: Batch, *, rounds: int) -> tuple[float, float]:
    """Return median and 99th percentile of `run` on `batch`, milliseconds, host to host."""
    taken = []
    for number in range(rounds + _WARM):
        start = time.perf_counter_ns()
        run(batch)
        if number >= _WARM:
            taken.append((time.perf_counter_ns() - start) / 1e6)
    return float(np.median(taken)), float(np.percentile(taken, 99))


def latencies(run: Run, pictures: Batch, *, rounds: int) -> Iterator[dict[str, float]]:
    """Measure every batch of `BATCHES`, print it, and yield it as it stands in the record."""
    for batch in BATCHES:
        median, p99 = latency(run, pictures[:batch], rounds=rounds)
        print(f"    batch {batch}: median {median:.3f} ms, p99 {p99:.3f} ms", flush=True)
        yield {"batch": batch, "median_ms": round(median, 4), "p99_ms": round(p99, 4)}


def cosines(found: npt.NDArray[Any], wanted: Batch) -> npt.NDArray[np.float64]:
    """Return the cosine of each row of `found` to that of `wanted`."""
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    cosine: npt.NDArray[np.float64] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosine


def onnxruntime_cuda(
    model: Path, pictures: Batch, *, rounds: int, providers: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Measure the graphs beside the FP32 model `model` in ONNX Runtime on CUDA; nothing where it has none.

    `providers` are those that ONNX Runtime has here, unless given.
    """
    import onnxruntime

    have = onnxruntime.get_available_providers() if providers is None else providers
    if _CUDA not in have:
        print(f"no other GPU runtime: ONNX Runtime has {', '.join(have)} here; pip install onnxruntime-gpu")
        return
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for path in (model.with_suffix(".onnx"), model.with_name(f"{model.stem}.qdq-fp32.onnx")):
        if not path.exists():
            print(f"  {path.name}: not measured, it is not there")
            continue
        session = onnxruntime.InferenceSession(str(path), options, providers=[_CUDA, "CPUExecutionProvider"])
        run = functools.partial(_run_session, session, session.get_inputs()[0].name)
        provider = session.get_providers()[0]
        print(f"  {path.name} in ONNX Runtime {onnxruntime.__version__}, {provider}")
        yield {
            "runtime": f"onnxruntime {onnxruntime.__version__} {provider}",
            "network": path.name,
            "latency": list(latencies(run, pictures, rounds=rounds)),
        }


def _run_session(session: Any, name: str, batch: Batch) -> Any:
    return session.run(None, {name: batch})


def keras_jax(model: Path, pictures: Batch, wanted: Batch, *, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure the Keras model in the file `model` on jax, under ``jax.jit``, in each of `TYPES`.

    `wanted` is what the FP32 model says to `pictures`, (N, 3, 224, 224). The weights are constants of
    what is compiled, as an engine's are.

    Raises:
        ModelError: jax is not installed, Keras runs on another backend already, or the file is none.
    """
    keras, jax = _backend()
    for dtype in TYPES:
        forward = _jitted(keras, jax, model, dtype)
        with ThreadPoolExecutor(len(BATCHES)) as pool:  # XLA compiles the batches side by side
            compiled = list(pool.map(functools.partial(_compiled, jax, forward), BATCHES))
        by_batch = dict(zip(BATCHES, compiled, strict=True))
        run = functools.partial(_run_compiled, by_batch)
        most = BATCHES[-1]
        parts = [run(pictures[i : i + most]) for i in range(0, len(pictures) // most * most, most)]
        cosine = cosines(np.concatenate(parts), wanted[: len(parts) * most])
        where = jax.devices()[0]
        print(f"  {model.name} in Keras {keras.__version__}, jax {jax.__version__}, {dtype}, on {where}:")
        print(f"    cosine mean {cosine.mean():.5f} least {cosine.min():.5f}")
        yield {
            "runtime": f"keras {keras.__version__} on jax {jax.__version__} ({where.platform})",
            "network": model.name,
            "type": dtype,
            "cosine_mean": round(float(cosine.mean()), 6),
            "cosine_least": round(float(cosine.min()), 6),
            "latency": list(latencies(run, pictures, rounds=rounds)),
        }


def _backend() -> tuple[Any, Any]:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        jax: Any = importlib.import_module("jax")
        keras: Any = importlib.import_module("keras")
    except ImportError as error:
        raise ModelError(
            f"Keras on jax cannot be used here: {error}", fix="pip install jax[cuda13]"
        ) from error
    if keras.backend.backend() != "jax":
        raise ModelError(
            f"Keras runs on {keras.backend.backend()} in this process, not on jax",
            fix="set KERAS_BACKEND=jax",
        )
    return keras, jax


def _jitted(keras: Any, jax: Any, path: Path, dtype: str) -> Any:
    """Return the jitted network: (B, 224, 224, 3) float32 -> (B, D) float32."""
    import dsr_inception.network  # noqa: F401 -- its layers can be read from a file then

    try:
        model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as a Keras model: {error}", fix="give --keras") from error
    if dtype != "float32":
        for layer in model.layers[:-1]:  # unit length stays exact
            layer.dtype_policy = f"mixed_{dtype}"
    weights = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]

    def forward(x: Any) -> Any:
        return keras.ops.cast(model.stateless_call(*weights, x, training=False)[0], "float32")

    return jax.jit(forward)


def _compiled(jax: Any, forward: Any, batch: int) -> Any:
    side = 224
    return forward.lower(jax.ShapeDtypeStruct((batch, side, side, 3), np.float32)).compile()


def _run_compiled(by_batch: dict[int, Any], batch: Batch) -> Any:
    return np.asarray(by_batch[len(batch)](np.ascontiguousarray(batch.transpose(0, 2, 3, 1))))
