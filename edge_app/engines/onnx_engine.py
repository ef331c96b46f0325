"""The engine on ONNX Runtime's CPU backend: everywhere available, the reference for the others.

One intra-op thread a session and no spinning: detector and recogniser run side by side on a small
box, and two-thread sessions were measured slower under load (a spinning thread takes the core that
the other session needs). Whatever ONNX Runtime raises is turned into a `ModelError` that says what
was expected and received.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.engines.engine import TensorSpec
from edge_app.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

BACKEND: Final = "onnxruntime-cpu"
_LOG_ERRORS_ONLY: Final = 3
_DTYPES: Final = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}


class OnnxEngine:
    """A network in ONNX Runtime on the CPU; implements `edge_app.engines.engine.Engine`.

    Args:
        path: the ``.onnx`` file; its manifest is checked by whoever calls.
        threads: intra-op threads of this session.

    Raises:
        ModelError: missing, empty or unreadable file, no float32 input, or ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._path = Path(path)
        self._session: Any = _open_session(self._path, threads)
        self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value) for value in self._session.get_outputs())
        if len(self.inputs) != 1 or self.inputs[0].dtype != "float32":
            raise ModelError(
                f"{self._path} must have one float32 input; it has {_describe(self.inputs)}",
                fix="export the network with its picture as the only input",
            )

    @property
    def backend(self) -> str:
        """The backend's name, as it stands in every event."""
        return BACKEND

    def run(self, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run the network on `batch` and return its outputs in order.

        Raises:
            ModelError: the shape or dtype does not fit, the engine is closed, or ONNX Runtime failed.
        """
        if self._session is None:
            raise ModelError(f"the engine of {self._path} is closed", fix="open it again")
        expected = self.inputs[0]
        if batch.dtype != np.float32 or not _fits(batch.shape, expected.shape):
            raise ModelError(
                f"{self._path} takes {_describe(self.inputs)}; received {batch.shape} {batch.dtype}",
                fix="prepare the input as the model's manifest says",
            )
        try:
            outputs: list[npt.NDArray[np.float32]] = self._session.run(None, {expected.name: batch})
        except Exception as error:
            raise ModelError(
                f"{self._path} failed on {batch.shape} in {BACKEND}: {_first_line(error)}",
                fix="if the file's hash is right, the model does not fit this ONNX Runtime",
            ) from error
        return outputs

    def close(self) -> None:
        """Free the session. Safe to call twice."""
        self._session = None


def _open_session(path: Path, threads: int) -> Any:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(
            f"the model file {path} cannot be read: {error.strerror or error}",
            fix="check the path in the manifest",
        ) from error
    if size == 0:
        raise ModelError(f"the model file {path} is empty", fix="copy it again from where it was released")
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"ONNX Runtime is not installed: {error}", fix='pip install "dsr-edge[cpu]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Planning memory for each input shape gains no time here and holds 45 MB more (ONNX Runtime 1.32).
    options.enable_mem_pattern = False
    options.log_severity_level = _LOG_ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"the model file {path} ({size} bytes) cannot be loaded by ONNX Runtime: {_first_line(error)}",
            fix="it is damaged or no ONNX model: copy it again from where it was released",
        ) from error


def _spec(value: Any) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else None for axis in value.shape)
    return TensorSpec(name=value.name, shape=shape, dtype=_DTYPES.get(value.type, value.type))


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    if len(shape) != len(expected) or 0 in shape:
        return False
    return all(want is None or have == want for have, want in zip(shape, expected, strict=True))


def _describe(specs: tuple[TensorSpec, ...]) -> str:
    parts = [f"{s.name} {tuple('?' if a is None else a for a in s.shape)} {s.dtype}" for s in specs]
    return ", ".join(parts).replace("'?'", "?") or "none"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
