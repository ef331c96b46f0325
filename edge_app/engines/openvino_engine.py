"""The engine on OpenVINO's CPU plugin, in BF16 where the processor computes in it.

Only there: in FP32 OpenVINO was measured slower than ONNX Runtime on the folded graph (27.5 to 22.3 ms
a face), in BF16 at about half of it, with embeddings at a cosine above .9999. The batch is fixed, one
picture or a face with its mirror image, which lets the plugin choose its kernels beforehand: a free one was
measured a fifth slower. The network is compiled for each when it first comes. One thread, one stream.

An average pooling is run as the depthwise convolution that it is: the plugin's own takes the picture's three
channels for sixteen, which was a twentieth of the whole time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.engines.engine import TensorSpec
from edge_app.engines.machine import cpu_flags
from edge_app.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

BACKEND: Final = "openvino-cpu-bf16"
#: Pictures in one run, at most: a face and its mirror image.
MAX_BATCH: Final = 2
_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})


def why_not_here() -> str | None:
    """Return why ONNX Runtime is the better choice on this processor; None where OpenVINO is."""
    if cpu_flags() & _BF16_FLAGS:
        return None
    return "this processor has neither AVX512-BF16 nor AMX, and in FP32 ONNX Runtime is quicker"


class OpenVinoEngine:
    """A network in OpenVINO on the CPU; implements `edge_app.engines.engine.Engine`.

    Args:
        path: the ``.onnx`` file; its manifest is checked by whoever calls.
        threads: threads of its one stream.

    Raises:
        ModelError: OpenVINO is not installed or cannot load the file, or it has not one float32 input.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._path = Path(path)
        self._threads = threads
        self._core, self._model = _read(self._path)
        self.inputs = tuple(_spec(port) for port in self._model.inputs)
        self.outputs = tuple(_spec(port) for port in self._model.outputs)
        if len(self.inputs) != 1 or self.inputs[0].dtype != "float32":
            raise ModelError(f"{path} must have one float32 input; it has {self.inputs}")
        self._free = self.inputs[0].shape[0] is None
        self._requests: dict[int, Any] = {}
        self._request_for(1 if self._free else int(self.inputs[0].shape[0] or 1))

    @property
    def backend(self) -> str:
        """The backend's name, as it stands in every event."""
        return BACKEND

    def run(self, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run the network on `batch` and return its outputs in order.

        Raises:
            ModelError: the shape or dtype does not fit, the engine is closed, or OpenVINO failed.
        """
        if self._model is None:
            raise ModelError(f"the engine of {self._path} is closed", fix="open it again")
        expected = self.inputs[0].shape
        most = MAX_BATCH if self._free else expected[0] or 1
        fits = batch.shape[1:] == expected[1:] and (1 if self._free else most) <= len(batch) <= most
        if batch.dtype != np.float32 or not fits:
            raise ModelError(
                f"{self._path} takes {expected} float32, at most {most} at once, in {BACKEND}; "
                f"received {batch.shape} {batch.dtype}",
                fix="prepare the input as the model's manifest says",
            )
        try:
            request = self._request_for(len(batch))
            request.infer([np.ascontiguousarray(batch)], share_inputs=True)
            return [np.array(tensor.data, dtype=np.float32) for tensor in request.output_tensors]
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"{self._path} failed in {BACKEND}: {_first_line(error)}") from error

    def close(self) -> None:
        """Free the network. Safe to call twice."""
        self._requests.clear()
        self._core = self._model = None

    def _request_for(self, batch: int) -> Any:
        """Return the request that takes `batch` pictures, compiled when it first comes.

        Raises:
            ModelError: OpenVINO cannot compile the network.
        """
        if batch not in self._requests:
            settings = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": self._threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": "bf16",
            }
            try:
                fixed = self._model.clone()
                fixed.reshape({fixed.inputs[0]: [batch, *(axis or 1 for axis in self.inputs[0].shape[1:])]})
                compiled = self._core.compile_model(fixed, "CPU", settings)
                self._requests[batch] = compiled.create_infer_request()
            except Exception as error:
                raise _not_loaded(self._path, error) from error
        return self._requests[batch]


def _read(path: Path) -> tuple[Any, Any]:
    """Return OpenVINO's core and the network in `path`.

    Raises:
        ModelError: OpenVINO is not installed, or cannot read it.
    """
    try:
        import openvino
    except (ImportError, OSError) as error:
        fix = 'pip install "dsr-edge[openvino]"'
        raise ModelError(f"OpenVINO cannot be used here: {error}", fix=fix) from error
    try:
        core = openvino.Core()
        model = core.read_model(path)
        _convolve_average_pools(model)
        return core, model  # noqa: TRY300 -- all of it can fail on a damaged file
    except Exception as error:
        raise _not_loaded(path, error) from error


def _convolve_average_pools(model: Any) -> None:
    """Put a depthwise convolution in the place of every average pooling of `model` that pads nothing."""
    from openvino import opset13

    for pool in model.get_ordered_ops():
        if pool.get_type_name() != "AvgPool":
            continue
        settings, channels = pool.get_attributes(), pool.get_input_partial_shape(0)[1]
        if any((*settings["pads_begin"], *settings["pads_end"])) or settings["rounding_type"] != "floor":
            continue
        if channels.is_static:
            kernel, strides = settings["kernel"], settings["strides"]
            shares = np.full(
                (channels.get_length(), 1, 1, *kernel),
                1 / np.prod(kernel),
                pool.get_output_element_type(0).to_dtype(),
            )
            mean = opset13.group_convolution(pool.input_value(0), shares, strides, [0, 0], [0, 0], [1, 1])
            pool.output(0).replace(mean.output(0))


def _not_loaded(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"the model file {path} cannot be loaded by OpenVINO: {_first_line(error)}",
        fix="it is damaged or no ONNX model: copy it again from where it was released",
    )


def _spec(port: Any) -> TensorSpec:
    shape = tuple(axis.get_length() if axis.is_static else None for axis in port.get_partial_shape())
    return TensorSpec(name=port.get_any_name(), shape=shape, dtype=port.get_element_type().to_dtype().name)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1]
