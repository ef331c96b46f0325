"""Which backend runs a model: one table, tried in its order, and the reason is always told.

Each row names a backend, the file it runs and the module it needs. The first row whose module is
installed and whose file is there wins; an operator who names a backend gets that one or an error,
never another in silence. TensorRT and OpenVINO become rows of the same table.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_app.engines.engine import Engine


@dataclass(frozen=True, slots=True)
class Backend:
    """A row of the table: its name, the module it needs, and how it opens a model file."""

    name: str
    module: str
    suffix: str
    open: Callable[[Path, int], Engine]

    def obstacle(self, path: Path) -> str | None:
        """Return why this backend cannot run `path` here, None when it can."""
        if path.suffix != self.suffix:
            return f"runs {self.suffix} files, not {path.suffix or 'files without a suffix'}"
        if importlib.util.find_spec(self.module) is None:
            return f"the module {self.module} is not installed"
        return None


@dataclass(frozen=True, slots=True)
class OpenedEngine:
    """An open engine, and in words why this backend was chosen (for the log)."""

    engine: Engine
    reason: str


def _open_onnx(path: Path, threads: int) -> Engine:
    from edge_app.engines.onnx_engine import OnnxEngine

    return OnnxEngine(path, threads=threads)


#: Best first.
BACKENDS: Final[tuple[Backend, ...]] = (
    Backend(name="onnxruntime-cpu", module="onnxruntime", suffix=".onnx", open=_open_onnx),
)


def open_engine(path: Path, *, preferred: str | None = None, threads: int = 1) -> OpenedEngine:
    """Open the model file `path` with the best backend there is, or with the `preferred` one.

    Raises:
        ModelError: no backend (or not the preferred one) can run it, or the file cannot be loaded.
    """
    rows = [row for row in BACKENDS if preferred in (None, row.name)]
    if not rows:
        names = ", ".join(row.name for row in BACKENDS)
        raise ModelError(f"there is no backend {preferred!r}", fix=f"choose one of: {names}")
    obstacles: list[str] = []
    for row in rows:
        obstacle = row.obstacle(path)
        if obstacle is None:
            why = "asked for by name" if preferred else "the best backend here"
            passed = f"; not {', not '.join(obstacles)}" if obstacles else ""
            return OpenedEngine(engine=row.open(path, threads), reason=f"{row.name}: {why}{passed}")
        obstacles.append(f"{row.name} ({obstacle})")
    raise ModelError(
        f"no backend can run {path}: {'; '.join(obstacles)}",
        fix='pip install "dsr-edge[cpu]" gives ONNX Runtime, which runs .onnx files',
    )
