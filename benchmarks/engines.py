"""One aligned face to its embedding on one thread, every engine of this machine side by side.

The box looks at a face and at its mirror image, so a face is two pictures; where an engine takes both in one
run it is measured so. Machines differ and are busy, so the figure is the processor time of the quickest of
many rounds, all engines taking turns, and the bars are ratios: OpenVINO takes at most half of ONNX Runtime's
FP32 time where the processor computes in BF16, and folding the BatchNormalization gains at least 8 %. FP32 is
both graphs: the one that Keras gives, and ours, which is folded and split and quicker.

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

import numpy as np

from edge_app.engines import choose, openvino_engine
from edge_app.engines.golden import golden_batch

if TYPE_CHECKING:
    from edge_app.engines.engine import Engine

ROUNDS: Final = 40
WARM: Final = 2
OPENVINO_BAR: Final = 0.50
FOLDED_BAR: Final = 0.92
ORT, OPENVINO = "onnxruntime-cpu", "openvino-cpu-bf16"
PLAIN, FOLDED = "ONNX Runtime FP32, unfolded", "ONNX Runtime FP32, folded"
BF16, INT8 = "OpenVINO BF16, folded", "OpenVINO INT8, the Q/DQ file"
#: What is printed, the file it runs, on which backend, and how many pictures in one run.
ROWS: Final = (
    (PLAIN, "{name}.plain.onnx", ORT, 1),
    (FOLDED, "{name}.onnx", ORT, 1),
    ("ONNX Runtime, the Q/DQ file", "{name}.qdq-fp32.onnx", ORT, 1),
    (f"{BF16}, one picture", "{name}.onnx", OPENVINO, 1),
    (BF16, "{name}.onnx", OPENVINO, 2),
    (f"{INT8}, one picture", "{name}.qdq-fp32.onnx", OPENVINO, 1),
    (INT8, "{name}.qdq-fp32.onnx", OPENVINO, 2),
)


def measure(engines: dict[str, tuple[Engine, int]]) -> dict[str, list[float]]:
    """Return milliseconds of processor time a face (two pictures), by engine, round by round."""
    pictures = golden_batch()
    pair = np.ascontiguousarray(np.stack([pictures[0], pictures[0][:, :, ::-1]]))
    for engine, batch in engines.values():
        engine.run(pair[:batch])
    taken: dict[str, list[float]] = {label: [] for label in engines}
    for _ in range(ROUNDS):
        for label, (engine, batch) in engines.items():
            for _ in range(WARM):  # the one before it has taken the cache
                engine.run(pair[:batch])
            start = time.process_time_ns()
            for first in range(0, 2, batch):
                engine.run(pair[first : first + batch])
            taken[label].append((time.process_time_ns() - start) / 1e6)
    return taken


def bar(label: str, ratio: float, limit: float) -> bool:
    """Print a ratio beside its bar; returns whether it is met."""
    met = ratio <= limit
    print(f"{label}: {ratio:.2f}, at most {limit:.2f}: {'met' if met else 'MISSED'}")
    return met


def main(folder: Path = Path("models"), name: str = "dsr_inception") -> int:
    """Print the table and the ratios; returns 1 if a bar is missed."""
    engines: dict[str, tuple[Engine, int]] = {}
    for label, file, backend, batch in ROWS:
        path = folder / file.format(name=name)
        if path.exists():
            engines[label] = choose.open_engine(path, preferred=backend).engine, batch
        else:
            print(f"not measured: {label}; {path} is not there")
    taken = measure(engines)
    reference = engines[FOLDED][0]
    print(
        f"onnxruntime {metadata.version('onnxruntime')}, openvino {metadata.version('openvino')}, "
        "one thread, a face and its mirror image"
    )
    print(f"{'':42} {'best ms':>8} {'median':>8}  cosine to FP32")
    best = {label: min(values) for label, values in taken.items()}
    for label, (engine, _) in engines.items():
        cosine = min(
            float((engine.run(one[None])[0] * reference.run(one[None])[0]).sum()) for one in golden_batch()
        )
        median = statistics.median(taken[label])
        print(f"{label:42} {best[label]:8.1f} {median:8.1f}  {cosine:.5f}")
    return 0 if all(_bars(best)) else 1


def _bars(best: dict[str, float]) -> list[bool]:
    """Print every ratio that can be told; returns whether each is met."""
    met = []
    why_not = openvino_engine.why_not_here()
    if why_not is not None:
        print(f"no bar for OpenVINO here: {why_not}")
    pairs = [(label, against) for label in (BF16, INT8) for against in (PLAIN, FOLDED)]
    met += [
        bar(f"{label} to {against}", best[label] / best[against], OPENVINO_BAR)
        for label, against in pairs
        if why_not is None and {label, against} <= set(best)
    ]
    if PLAIN in best:
        met.append(bar("ONNX Runtime, folded to unfolded", best[FOLDED] / best[PLAIN], FOLDED_BAR))
    return met


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(*(Path(arguments[0]), *arguments[1:]) if arguments else ()))
