"""The engine on TensorRT or TensorRT-RTX, from a plan whose manifest has been checked and is signed.

One path for 8.5 to 11: tensors have names and addresses, and `execute_async_v3` queues the work. The
addresses never change, so that a batch size that comes again can be queued as one CUDA graph. Inputs and
outputs stay float32 whatever is computed inside.

Has not run on a device yet; what it does and refuses is tested against a stand-in for the runtime.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.engines.engine import TensorSpec
from edge_app.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.engines.buffers import Buffer, Buffers, Graph
    from edge_app.engines.store import StoredEngine

_logger = logging.getLogger(__name__)

_MODULES: Final = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
#: A batch size is recorded as a CUDA graph when it has come this often.
_RECORD_AFTER: Final = 2
_REBUILD: Final = "build it again here: dsr-engine build"
_OTHER_GPU: Final = (
    "build it for this GPU: dsr-engine build; TensorRT-RTX knows no data-centre and no Jetson GPU: take "
    "--backend tensorrt there. Until then the CPU runs the recogniser"
)


def open_plan(engine: StoredEngine, *, graphs: bool = True) -> TensorRtEngine:
    """Open a checked engine on this box's GPU; without `graphs` its work is queued kernel by kernel.

    Raises:
        ModelError: it was built for another GPU, release or version, or a library is missing.
    """
    from edge_app.engines.buffers import PycudaBuffers

    manifest = engine.manifest
    module = _MODULES.get(manifest.builder, manifest.builder)
    try:
        trt = importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise ModelError(
            f"the engine {manifest.id} needs {manifest.builder}, which cannot be used here: {error}",
            fix="on a Jetson it comes with JetPack",
        ) from error
    manifest.require_here()
    installed = str(trt.__version__)
    if installed.split(".")[:3] != manifest.builder_version.split(".")[:3]:
        raise ModelError(
            f"the engine {manifest.id} was built by {manifest.builder} {manifest.builder_version}; "
            f"this box has {installed}",
            fix=_REBUILD,
        )
    backend = f"{manifest.builder}-{manifest.precision}"
    buffers = PycudaBuffers()
    try:
        return TensorRtEngine(engine.plan, trt=trt, buffers=buffers, backend=backend, graphs=graphs)
    except BaseException:
        buffers.close()  # the next backend may need the memory
        raise


def _make_log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc] # made at run time from the runtime in use
        """Keeps the last error, and passes all of them on to the log."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = ""

        def log(self, severity: Any, message: str) -> None:
            if severity.name in ("ERROR", "INTERNAL_ERROR"):
                self.last = message
                _logger.error("%s", message)

    return Log()


class TensorRtEngine:
    """A plan on a GPU; implements `edge_app.engines.engine.Engine`.

    Args:
        plan: the plan's bytes.
        trt: the module ``tensorrt`` or ``tensorrt_rtx``.
        buffers: memory and stream.
        backend: the name that stands in every event.
        graphs: queue a batch size that comes again as one CUDA graph, where that can be recorded.

    Raises:
        ModelError: the runtime refuses the plan, or it has not one float32 input.
    """

    def __init__(self, plan: bytes, *, trt: Any, buffers: Buffers, backend: str, graphs: bool = True) -> None:
        self._backend = backend
        self._buffers: Buffers | None = buffers
        self._trt = trt
        self._record = graphs
        with buffers.current():
            self._log = _make_log(trt)
            try:
                self._runtime: Any = trt.Runtime(self._log)
            except (TypeError, RuntimeError) as error:  # what pybind11 makes of a null pointer
                raise ModelError(f"{backend} has no runtime here: {error}", fix="see dmesg") from error
            self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                said = self._log.last
                raise ModelError(
                    f"{backend} refuses the plan ({len(plan)} bytes): {said or 'it does not say why'}",
                    fix=_OTHER_GPU if "compute capability" in said else _REBUILD,
                )
            self._context: Any = self._engine.create_execution_context()
            if self._context is None:
                raise ModelError(
                    f"{backend} has no memory left on the GPU to run the plan in",
                    fix="stop what else uses it",
                )
            names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
            self.inputs = tuple(self._spec(name) for name in names if self._is_input(name))
            self.outputs = tuple(self._spec(name) for name in names if not self._is_input(name))
            if len(self.inputs) != 1 or self.inputs[0].dtype != "float32":
                raise ModelError(f"the plan must have one float32 input; it has {self.inputs}", fix=_REBUILD)
            low, _, high = self._engine.get_tensor_profile_shape(self.inputs[0].name, 0)
            self.max_batch = int(high[0])
            if low[0] == high[0]:  # a DLA's, say: no other batch goes in
                (spec,) = self.inputs
                self.inputs = (dataclasses.replace(spec, shape=(self.max_batch, *spec.shape[1:])),)
            self._memory = {spec.name: self._allocate(spec) for spec in (*self.inputs, *self.outputs)}
        self._batch = 0
        self._seen: dict[int, int] = {}
        self._graphs: dict[int, Graph | None] = {}

    @property
    def backend(self) -> str:
        """The backend's name, as it stands in every event."""
        return self._backend

    def run(self, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run the network on `batch` and return its outputs in order.

        Raises:
            ModelError: the shape or dtype does not fit, the engine is closed, or the GPU failed.
        """
        if self._buffers is None:
            raise ModelError("the engine is closed", fix="open it again")
        wanted = self.inputs[0].shape[1:]
        least = self.inputs[0].shape[0] or 1
        fits = batch.ndim and batch.shape[1:] == wanted and least <= len(batch) <= self.max_batch
        if batch.dtype != np.float32 or not fits:
            raise ModelError(
                f"{self._backend} takes ({least}..{self.max_batch}, {', '.join(map(str, wanted))}) float32; "
                f"received {batch.shape} {batch.dtype}",
                fix="prepare the input as the model's manifest says",
            )
        count = len(batch)
        try:
            with self._buffers.current():
                self._memory[self.inputs[0].name].host[:count] = batch
                self._queue(count, self._buffers)
                self._buffers.synchronise()
                return [self._memory[spec.name].host[:count].copy() for spec in self.outputs]
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"the GPU failed in {self._backend}: {error}", fix="see dmesg") from error

    def close(self) -> None:
        """Free what is held on the GPU. Safe to call twice."""
        if self._buffers is None:
            return
        with self._buffers.current():
            for graph in self._graphs.values():
                if graph is not None:
                    graph.close()
            self._graphs.clear()
            self._context = self._engine = self._runtime = None
        self._buffers.close()
        self._buffers = None

    def _queue(self, count: int, buffers: Buffers) -> None:
        if count != self._batch:
            shape = (count, *self.inputs[0].shape[1:])
            if self._context.set_input_shape(self.inputs[0].name, shape) is False:
                raise ModelError(f"{self._backend} refuses the input shape {shape}", fix=_REBUILD)
            self._batch = count
        self._seen[count] = self._seen.get(count, 0) + 1
        if self._record and self._seen[count] > _RECORD_AFTER and count not in self._graphs:
            self._graphs[count] = buffers.capture(lambda: self._enqueue(count, buffers))
        graph = self._graphs.get(count)
        if graph is not None:
            graph.launch()
        elif not self._enqueue(count, buffers):
            raise ModelError(f"{self._backend} could not queue a batch of {count}", fix="see dmesg")

    def _enqueue(self, count: int, buffers: Buffers) -> bool:
        buffers.upload(self._memory[self.inputs[0].name], count)
        done = bool(self._context.execute_async_v3(buffers.stream))
        for spec in self.outputs:
            buffers.download(self._memory[spec.name], count)
        return done

    def _allocate(self, spec: TensorSpec) -> Buffer:
        if self._buffers is None or None in spec.shape[1:]:
            raise ModelError(f"the plan's tensor {spec.name} has no fixed size: {spec.shape}", fix=_REBUILD)
        shape = (self.max_batch, *(axis or 0 for axis in spec.shape[1:]))
        buffer = self._buffers.allocate(shape, spec.dtype)
        if self._context.set_tensor_address(spec.name, buffer.address) is False:
            raise ModelError(f"{self._backend} does not take memory for {spec.name}", fix=_REBUILD)
        return buffer

    def _is_input(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)

    def _spec(self, name: str) -> TensorSpec:
        shape = tuple(None if axis < 0 else int(axis) for axis in self._engine.get_tensor_shape(name))
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))).name
        return TensorSpec(name=name, shape=shape, dtype=dtype)
