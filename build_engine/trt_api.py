"""One thin interface over TensorRT 8.6, 10.x and 11.x, and over TensorRT-RTX.

The four differ in what a builder takes, and only there. Up to 10.x a network may be weakly typed: the
graph is FP32 and flags allow FP16 and INT8. From 11 on, and in TensorRT-RTX from the start, every
network is strongly typed: a layer runs in the type that the graph declares, so the graph must be
FP16-typed outside its Q/DQ. `Toolkit.strongly_typed` says which of the two graphs to hand over.
TensorRT-RTX builds for any of its GPUs without having one, which is why it stands in CI for the others.

Nothing here knows this project's network; nothing else in this package imports TensorRT.

One engine a process: after a build that TensorRT-RTX 1.7.1 gave up half way (an FP32 matrix product on
SM75, say), its next builds in the same process give no INT8, for any GPU; a test shows it, and
`build_engine.inspect` refuses what comes out.

What has run: TensorRT-RTX 1.7.1 on an x86-64 machine without a GPU. What has not run on a device:
TensorRT 8.6, 10.x and 11.x (written from their documents), DLA, and the timing cache's use.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import BuildFailed, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

TENSORRT: Final = "tensorrt"
TENSORRT_RTX: Final = "tensorrt-rtx"
_MODULES: Final = {TENSORRT: "tensorrt", TENSORRT_RTX: "tensorrt_rtx"}
_INSTALL: Final = {
    TENSORRT: "on a Jetson it comes with JetPack; elsewhere install NVIDIA's TensorRT for Python",
    TENSORRT_RTX: 'pip install "dsr-edge[rtx]" (x86-64)',
}
#: The first release without weak typing and calibrators.
_STRONG_ONLY_FROM: Final = 11
#: A face is looked at twice, as it is and in the mirror, in one run.
PAIR: Final = 2
_ERROR_LEVELS: Final = ("ERROR", "INTERNAL_ERROR")
#: What the builders say when memory ran out.
_OUT_OF_MEMORY: Final = re.compile(
    r"out.?of.?memory|OutOfMemory|insufficient memory|cudaErrorMemory|bad_alloc"
)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    `precision` is ``fp32``, ``fp16`` or ``int8``; the batch runs from 1 to `max_batch` where the graph
    leaves it free; `size` is a detector's picture, (width, height), which stands in the graph already;
    `workspace_mib` None leaves the builder's own. `target` (``SM86`` ...) is for TensorRT-RTX, which
    builds for a GPU that need not be here. `calibrator` is for implicit INT8 (up to 10.x, DLA).
    """

    precision: str
    max_batch: int = 8
    workspace_mib: int | None = None
    target: str | None = None
    dla_core: int | None = None
    timing_cache: bytes = b""
    calibrator: Any = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A plan, what the builder said about its layers, and its timing cache (empty where it has none)."""

    plan: bytes
    layer_text: str
    timing_cache: bytes


class Toolkit:
    """TensorRT or TensorRT-RTX, whichever `name` says.

    Raises:
        ModelError: there is no such builder, or it is not installed.
    """

    def __init__(self, name: str) -> None:
        if name not in _MODULES:
            raise ModelError(f"there is no builder {name!r}", fix=f"choose one of: {', '.join(_MODULES)}")
        try:
            self.trt: Any = importlib.import_module(_MODULES[name])
        except (ImportError, OSError) as error:
            raise ModelError(f"{name} cannot be used here: {error}", fix=_INSTALL[name]) from error
        self.name = name
        self.version = str(self.trt.__version__)

    @property
    def strongly_typed(self) -> bool:
        """Whether every network is strongly typed: layers run in the types that the graph declares."""
        return self.name == TENSORRT_RTX or int(self.version.split(".")[0]) >= _STRONG_ONLY_FROM

    @property
    def has_calibrators(self) -> bool:
        """Whether implicit INT8 exists: TensorRT up to 10.x."""
        return hasattr(self.trt, "IInt8EntropyCalibrator2")

    @property
    def targets(self) -> tuple[str, ...]:
        """The GPUs that it can build for without having one (``SM86`` ...); empty for TensorRT."""
        members = getattr(self.trt, "ComputeCapability", None)
        return tuple(sorted(name for name in dir(members) if name.startswith("SM")))

    def build(self, model: bytes, request: BuildRequest, *, on_message: Callable[[str], None]) -> Built:
        """Parse the ONNX `model` and build it; blocks for seconds (TensorRT-RTX) to many minutes.

        Args:
            model: the whole file.
            request: what to build.
            on_message: told what the builder says at its levels warning and error, and every step of it.

        Raises:
            BuildFailed: the model cannot be parsed, or the builder gave up.
        """
        log = _make_log(self.trt, on_message)
        try:
            builder = self.trt.Builder(log)
        except (TypeError, RuntimeError) as error:  # what pybind11 makes of a null pointer
            said = log.last_error() or str(error)
            raise BuildFailed(
                f"{self.name} {self.version} has no builder here: {said}",
                fix="TensorRT builds on its GPU; --backend tensorrt-rtx --target SM86 needs none",
            ) from error
        network = self._parsed(builder, model, log)
        config = self._config(builder, network, request, log)
        cache = self._set_timing_cache(config, request)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            said = log.last_error() or "it said nothing"
            raise BuildFailed(
                f"{self.name} {self.version} could not build the engine: {said}",
                fix="see the messages above; --precision fp32 tells whether it is the type",
                out_of_memory=bool(_OUT_OF_MEMORY.search(said)),
            )
        kept = b"" if cache is None else bytes(cache.serialize())
        return Built(plan=bytes(plan), layer_text=log.layer_text(), timing_cache=kept)

    def _parsed(self, builder: Any, model: bytes, log: Any) -> Any:
        if not model:
            raise BuildFailed("the ONNX file is empty", fix="copy it again from where it was released")
        flags = self.trt.NetworkDefinitionCreationFlag
        wanted = "STRONGLY_TYPED" if self.strongly_typed else "EXPLICIT_BATCH"
        network = builder.create_network(1 << int(getattr(flags, wanted)) if hasattr(flags, wanted) else 0)
        parser = self.trt.OnnxParser(network, log)
        if not parser.parse(model):
            said = "; ".join(_parser_error(parser.get_error(i)) for i in range(min(parser.num_errors, 3)))
            raise BuildFailed(
                f"{self.name} {self.version} cannot read the ONNX file ({len(model)} bytes): {said}",
                fix="it is damaged, no ONNX model, or has an operation that this builder lacks",
            )
        if network.num_inputs != 1 or network.num_outputs < 1:  # empty bytes parse without an error
            raise BuildFailed(
                f"the network must have one input and an output; it has {network.num_inputs} and "
                f"{network.num_outputs}",
                fix="export the network with its picture as the only input",
            )
        return network

    def _config(self, builder: Any, network: Any, request: BuildRequest, log: Any) -> Any:
        trt = self.trt
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if request.workspace_mib is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
        if hasattr(config, "progress_monitor") and hasattr(trt, "IProgressMonitor"):
            config.progress_monitor = _make_monitor(trt, log.on_message)
        self._set_target(config, request)
        if not self.strongly_typed:
            self._allow_types(builder, config, request)
        tensor = network.get_input(0)
        config.add_optimization_profile(_profile(builder, tensor, *_batches(tensor, request)))
        if request.calibrator is not None and hasattr(config, "set_calibration_profile"):
            # Calibration runs at the profile's best shape, which has to be that of the calibrator's batches.
            size = request.calibrator.get_batch_size()
            config.set_calibration_profile(_profile(builder, tensor, size, size, size))
        return config

    def _set_target(self, config: Any, request: BuildRequest) -> None:
        if request.target is None:
            return
        if request.target not in self.targets:
            raise ModelError(
                f"{self.name} {self.version} cannot build for {request.target!r} from here",
                fix=f"choose one of: {', '.join(self.targets) or 'none; build on the device itself'}",
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(self.trt.ComputeCapability, request.target), 0)

    def _allow_types(self, builder: Any, config: Any, request: BuildRequest) -> None:
        trt = self.trt
        if request.precision in ("fp16", "int8"):
            config.set_flag(trt.BuilderFlag.FP16)
        if request.precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
            if request.calibrator is not None:
                config.int8_calibrator = request.calibrator
        if request.dla_core is not None:
            if builder.num_DLA_cores <= request.dla_core:
                raise BuildFailed(
                    f"this board has {builder.num_DLA_cores} DLA cores; not core {request.dla_core}",
                    fix="build without --dla (Orin Nano and Thor have none)",
                )
            config.default_device_type = trt.DeviceType.DLA
            config.DLA_core = request.dla_core
            config.set_flag(trt.BuilderFlag.GPU_FALLBACK)

    def _set_timing_cache(self, config: Any, request: BuildRequest) -> Any:
        """Give the builder its timing cache; TensorRT-RTX times nothing while it builds."""
        if self.name == TENSORRT_RTX or not hasattr(config, "create_timing_cache"):
            return None
        cache = config.create_timing_cache(request.timing_cache)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            # Damaged, or of another GPU or release: begin a new one.
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, ignore_mismatch=False)
        return cache


def _batches(tensor: Any, request: BuildRequest) -> tuple[int, int, int]:
    """Return the smallest, best and largest batch: kernels are chosen for a face and its mirror image."""
    fixed = int(tensor.shape[0])
    if fixed > 0:
        return fixed, fixed, fixed
    if request.dla_core is not None:  # a DLA has no dynamic sizes
        return 1, 1, 1
    return 1, min(PAIR, request.max_batch), request.max_batch


def _profile(builder: Any, tensor: Any, low: int, best: int, high: int) -> Any:
    """Return the profile of an input whose batch alone is free.

    Raises:
        BuildFailed: more than the batch is free.
    """
    rest = tuple(tensor.shape)[1:]
    if -1 in rest:
        raise BuildFailed(
            f"the input {tensor.name} {tuple(tensor.shape)} has more than a dynamic batch",
            fix="a detector's picture has one size in an engine: give --size 640x384",
        )
    profile = builder.create_optimization_profile()
    profile.set_shape(tensor.name, (low, *rest), (best, *rest), (high, *rest))
    return profile


def _parser_error(error: Any) -> str:
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    return f"{error.desc()} (at {operator} {error.node_name()})" if operator else str(error.desc())


def _make_log(trt: Any, on_message: Callable[[str], None]) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc] # made at run time from the builder in use
        """Keeps all that the builder says, and passes on once what somebody should see."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.on_message = on_message
            self._errors: list[str] = []
            self._lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            level = severity.name
            if level in _ERROR_LEVELS:
                self._errors.append(message)
            if level in (*_ERROR_LEVELS, "WARNING") and message not in self._lines:
                on_message(f"{level.lower()}: {message}")
            self._lines.append(message)

        def last_error(self) -> str:
            return self._errors[-1] if self._errors else ""

        def layer_text(self) -> str:
            """Return what was said from the engine's layer table on; empty if it was never printed."""
            for index, line in enumerate(self._lines):
                if "Engine Layer Information" in line or line.lstrip().startswith("Layers:"):
                    return "\n".join(self._lines[index:])
            return ""

    return Log()


def _make_monitor(trt: Any, on_message: Callable[[str], None]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc] # made at run time from the builder in use
        """Turns the builder's phases into lines."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            if parent_phase is None:
                on_message(f"progress: {phase_name}")

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            on_message(f"progress: {phase_name} {step + 1}/{self._steps.get(phase_name, 0)}")
            return True

    return Monitor()
