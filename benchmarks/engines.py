"""One aligned face to its embedding on one thread, every engine of this machine side by side.

Machines differ and are busy, so the figure is the processor time of the quickest of many rounds, all
engines taking turns, and the bars are ratios: OpenVINO takes at most half of ONNX Runtime's FP32 time
where the processor computes in BF16, and folding the BatchNormalization gains at least 8 %.

Run as ``python benchmarks/engines.py [folder] [name]``; exit status 1 if a bar is missed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_app.engines import choose, openvino_engine
from edge_app.engines.golden import golden_batch

if TYPE_CHECKING:
    from edge_app.engines.engine import Engine

ROUNDS: Final = 40
WARM: Final = 2
OPENVINO_BAR: Final = 0.50
FOLDED_BAR: Final = 0.92
ORT, OPENVINO = "onnxruntime-cpu", "openvino-cpu-bf16"
#: What is printed, the file it runs, and on which backend.
ROWS: Final = (
    ("ONNX Runtime FP32, unfolded", "{name}.plain.onnx", ORT),
    ("ONNX Runtime FP32, folded", "{name}.onnx", ORT),
    ("ONNX Runtime, Q/DQ for TensorRT", "{name}.qdq-fp32.onnx", ORT),
    ("OpenVINO BF16, folded", "{name}.onnx", OPENVINO),
    ("OpenVINO, Q/DQ for TensorRT", "{name}.qdq-fp32.onnx", OPENVINO),
)


def measure(engines: dict[str, Engine]) -> dict[str, list[float]]:
    """Return milliseconds of processor time a face, by engine, round by round."""
    picture = golden_batch()[:1]
    for engine in engines.values():
        engine.run(picture)
    taken: dict[str, list[float]] = {label: [] for label in engines}
    for _ in range(ROUNDS):
        for label, engine in engines.items():
            for _ in range(WARM):  # the one before it has taken the cache
                engine.run(picture)
            start = time.process_time_ns()
            engine.run(picture)
            taken[label].append((time.process_time_ns() - start) / 1e6)
    return taken


def bar(label: str, ratio: float, limit: float) -> bool:
    """Print a ratio beside its bar; returns whether it is met."""
    met = ratio <= limit
    print(f"{label}: {ratio:.2f}, at most {limit:.2f}: {'met' if met else 'MISSED'}")
    return met


def main(folder: Path = Path("models"), name: str = "dsr_inception") -> int:
    """Print the table and the ratios; returns 1 if a bar is missed."""
    engines: dict[str, Engine] = {}
    for label, file, backend in ROWS:
        path = folder / file.format(name=name)
        if path.exists():
            engines[label] = choose.open_engine(path, preferred=backend).engine
        else:
            print(f"not measured: {label}; {path} is not there")
    taken = measure(engines)
    reference = engines["ONNX Runtime FP32, folded"]
    print(
        f"onnxruntime {metadata.version('onnxruntime')}, openvino {metadata.version('openvino')}, one thread"
    )
    print(f"{'':32} {'best ms':>8} {'median':>8}  cosine to FP32")
    best = {label: min(values) for label, values in taken.items()}
    for label, engine in engines.items():
        cosine = min(
            float((engine.run(one[None])[0] * reference.run(one[None])[0]).sum()) for one in golden_batch()
        )
        median = statistics.median(taken[label])
        print(f"{label:32} {best[label]:8.1f} {median:8.1f}  {cosine:.5f}")
    met = []
    folded = best["ONNX Runtime FP32, folded"]
    why_not = openvino_engine.why_not_here()
    if why_not is None:
        met.append(
            bar("OpenVINO to ONNX Runtime, both folded", best["OpenVINO BF16, folded"] / folded, OPENVINO_BAR)
        )
    else:
        print(f"no bar for OpenVINO here: {why_not}")
    if "ONNX Runtime FP32, unfolded" in best:
        met.append(bar("folded to unfolded", folded / best["ONNX Runtime FP32, unfolded"], FOLDED_BAR))
    return 0 if all(met) else 1


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(*(Path(arguments[0]), *arguments[1:]) if arguments else ()))
