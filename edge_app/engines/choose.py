"""Which backend runs a model: one table, tried in its order, and the reason is always told.

Each row names a backend, the file it runs and the module it needs. The first row whose module is
installed and whose file is there wins; an operator who names a backend gets that one or an error,
never another in silence. A backend that computes in less than FP32 is only a choice for whoever says that
they were measured in it. TensorRT plans are not opened here: they have to be signed, and stand in a
store of their own (`edge_app.engines.store`).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from edge_app.engines.engine import Engine


@dataclass(frozen=True, slots=True)
class Backend:
    """A row of the table: its name, the module it needs, and how it opens a model file.

    `reduced` says that it computes in less than FP32; `why_not` why this machine is better without it.
    """

    name: str
    module: str
    suffix: str
    open: Callable[[Path, int], Engine]
    reduced: bool = False
    why_not: Callable[[], str | None] | None = None

    def obstacle(self, path: Path) -> str | None:
        """Return why this backend cannot run `path` here, or should not; None when it can."""
        if path.suffix != self.suffix:
            return f"runs {self.suffix} files, not {path.suffix or 'files without a suffix'}"
        if importlib.util.find_spec(self.module) is None:
            return f"the module {self.module} is not installed"
        return None if self.why_not is None else self.why_not()


@dataclass(frozen=True, slots=True)
class OpenedEngine:
    """An open engine, in words why this backend was chosen (for the log), and whether it is the last."""

    engine: Engine
    reason: str
    last: bool = True


def _open_onnx(path: Path, threads: int) -> Engine:
    from edge_app.engines.onnx_engine import OnnxEngine

    return OnnxEngine(path, threads=threads)


def _open_openvino(path: Path, threads: int) -> Engine:
    from edge_app.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(path, threads=threads)


def _why_not_openvino() -> str | None:
    from edge_app.engines.openvino_engine import why_not_here

    return why_not_here()


#: Best first.
BACKENDS: Final[tuple[Backend, ...]] = (
    Backend(
        name="openvino-cpu-bf16",
        module="openvino",
        suffix=".onnx",
        open=_open_openvino,
        reduced=True,
        why_not=_why_not_openvino,
    ),
    Backend(name="onnxruntime-cpu", module="onnxruntime", suffix=".onnx", open=_open_onnx),
)


def open_engine(
    path: Path,
    *,
    preferred: str | None = None,
    threads: int = 1,
    reduced: bool = False,
    without: Collection[str] = (),
) -> OpenedEngine:
    """Open the model file `path` with the best backend there is, or with the `preferred` one.

    Args:
        path: the model file; its manifest is checked by whoever calls.
        preferred: this backend and no other, by its name in the table.
        threads: threads of the network's own.
        reduced: also consider backends that compute in less than FP32.
        without: names of backends that are not to be tried (they have failed before).

    Raises:
        ModelError: no backend (or not the preferred one) can run it, or the file cannot be loaded.
    """
    rows = [
        row
        for row in BACKENDS
        if preferred == row.name or (preferred is None and row.name not in without and row.reduced <= reduced)
    ]
    if not rows:
        names = ", ".join(row.name for row in BACKENDS)
        raise ModelError(f"there is no backend {preferred!r}", fix=f"choose one of: {names}")
    obstacles: list[str] = []
    for row in rows:
        obstacle = row.obstacle(path)
        if obstacle is None:
            why = "asked for by name" if preferred else "the best backend here"
            passed = f"; not {', not '.join(obstacles)}" if obstacles else ""
            last = all(other.obstacle(path) for other in rows[rows.index(row) + 1 :])
            return OpenedEngine(row.open(path, threads), f"{row.name}: {why}{passed}", last)
        obstacles.append(f"{row.name} ({obstacle})")
    raise ModelError(
        f"no backend can run {path}: {'; '.join(obstacles)}",
        fix='pip install "dsr-edge[cpu]" gives ONNX Runtime, which runs .onnx files',
    )
