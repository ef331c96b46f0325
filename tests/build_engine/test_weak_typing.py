"""What TensorRT up to 10.x, and 11, are asked for: against a stand-in, since neither builds without a GPU.

It knows the names that NVIDIA documents for each release, and no others: whatever else is used fails.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from build_engine.trt_api import TENSORRT, BuildRequest, Toolkit
from edge_app.errors import BuildFailed


class Profile:
    """An optimisation profile."""

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        """Keep the batches."""
        assert "input" == name
        assert (3, 224, 224) == low[1:] == best[1:] == high[1:]
        self.batches = low[0], best[0], high[0]


class Cache:
    """A timing cache; a damaged one is refused when it is set."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        """Return something new."""
        return self.content + b"+"


class Config:
    """``IBuilderConfig`` of both; `Weak` has what 11 has no more."""

    def __init__(self) -> None:
        self.profiling_verbosity = None
        self.limits: dict[str, int] = {}
        self.profiles: list[Profile] = []
        self.caches: list[bytes] = []

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        """Keep it."""
        self.limits[pool] = size

    def add_optimization_profile(self, profile: Profile) -> int:
        """Keep it."""
        self.profiles.append(profile)
        return 0

    def create_timing_cache(self, content: bytes) -> Cache:
        """Return the cache in `content`."""
        return Cache(content)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        """Refuse a damaged one."""
        assert not ignore_mismatch
        self.caches.append(cache.content)
        return cache.content != b"damaged"


class Weak(Config):
    """What goes away with 11."""

    def __init__(self) -> None:
        super().__init__()
        self.flags: set[str] = set()
        self.int8_calibrator: Any = None
        self.calibration: Profile | None = None
        self.default_device_type, self.DLA_core = "gpu", -1

    def set_flag(self, flag: str) -> None:
        """Keep it."""
        self.flags.add(flag)

    def set_calibration_profile(self, profile: Profile) -> bool:
        """Keep it."""
        self.calibration = profile
        return True


class Calibrator:
    """Gives eight pictures at a time."""

    def get_batch_size(self) -> int:
        """Return how many."""
        return 8


def module(
    version: str, config: Config, *, cores: int = 2, shape: tuple[int, ...] = (-1, 3, 224, 224)
) -> Any:
    """Return a stand-in for the module ``tensorrt``."""
    picture = SimpleNamespace(name="input", shape=shape)
    network = SimpleNamespace(num_inputs=1, num_outputs=1, get_input=lambda _: picture)

    class ILogger:
        """The base of loggers."""

    class Builder:
        """``IBuilder``."""

        num_DLA_cores = cores  # noqa: N815 -- TensorRT's name

        def __init__(self, log: Any) -> None:
            self.log = log

        def create_network(self, flags: int) -> Any:
            """Keep the flags."""
            made.network_flags = flags
            return network

        def create_builder_config(self) -> Config:
            """Return the one that is looked at."""
            return config

        def create_optimization_profile(self) -> Profile:
            """Return a new one."""
            return Profile()

        def build_serialized_network(self, _network: Any, _config: Config) -> bytes:
            """Return a plan."""
            return b"ftrt plan"

    made: Any = ModuleType("tensorrt")
    made.__version__ = version
    made.ILogger, made.Builder = ILogger, Builder
    made.OnnxParser = lambda _network, _log: SimpleNamespace(parse=lambda _model: True)
    made.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    made.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    weak = isinstance(config, Weak)
    flags = {"STRONGLY_TYPED": 1} | ({"EXPLICIT_BATCH": 0} if weak else {})
    made.NetworkDefinitionCreationFlag = SimpleNamespace(**flags)
    if weak:
        made.BuilderFlag = SimpleNamespace(FP16="fp16", INT8="int8", GPU_FALLBACK="gpu_fallback")
        made.DeviceType = SimpleNamespace(DLA="dla")
        made.IInt8EntropyCalibrator2 = object
    return made


def build(monkeypatch: pytest.MonkeyPatch, stand_in: Any, **request: Any) -> Any:
    """Build with the stand-in in TensorRT's place; returns the toolkit and what was built."""
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in)
    toolkit = Toolkit(TENSORRT)
    asked = BuildRequest(**{"precision": "int8", **request})
    return toolkit, toolkit.build(b"onnx", asked, on_message=lambda _: None)


@pytest.mark.parametrize("version", ["8.6.2", "10.3.0.26", "10.13.3"])
@pytest.mark.parametrize(
    ("precision", "flags"), [("fp32", set()), ("fp16", {"fp16"}), ("int8", {"fp16", "int8"})]
)
def test_up_to_10_types_are_allowed_by_flags(
    monkeypatch: pytest.MonkeyPatch, version: str, precision: str, flags: set[str]
) -> None:
    """The graph is FP32-typed, with an explicit batch; kernels are chosen for a face and its mirror image."""
    config = Weak()
    toolkit, built = build(
        monkeypatch, module(version, config), precision=precision, workspace_mib=64, max_batch=8
    )
    assert (False, True) == (toolkit.strongly_typed, toolkit.has_calibrators)
    assert (flags, 1 << 0) == (config.flags, toolkit.trt.network_flags)
    assert ([(1, 2, 8)], {"workspace": 64 << 20}) == ([p.batches for p in config.profiles], config.limits)
    assert (b"ftrt plan", None) == (built.plan, config.calibration)


def test_from_11_on_the_graph_has_the_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flag of a type, no calibrator: names that 11 lacks are not touched."""
    config = Config()
    toolkit, _ = build(monkeypatch, module("11.0.0", config))
    assert (True, False, 1 << 1) == (
        toolkit.strongly_typed,
        toolkit.has_calibrators,
        toolkit.trt.network_flags,
    )
    assert [(1, 2, 8)] == [profile.batches for profile in config.profiles]


def test_dla_has_one_batch_size_and_calibrates_in_the_calibrators(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DLA takes no dynamic size; calibration runs at its profile's best shape, which is the batch's."""
    config, calibrator = Weak(), Calibrator()
    build(monkeypatch, module("10.3.0", config), dla_core=1, calibrator=calibrator)
    assert ("dla", 1, {"fp16", "int8", "gpu_fallback"}) == (
        config.default_device_type,
        config.DLA_core,
        config.flags,
    )
    assert [(1, 1, 1)] == [profile.batches for profile in config.profiles]
    assert config.calibration is not None
    assert (calibrator, (8, 8, 8)) == (config.int8_calibrator, config.calibration.batches)


def test_dla_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orin Nano and Thor have none."""
    with pytest.raises(BuildFailed, match="has 0 DLA cores"):
        build(monkeypatch, module("10.3.0", Weak(), cores=0), dla_core=0)


@pytest.mark.parametrize(
    ("kept", "tried"), [(b"", [b""]), (b"good", [b"good"]), (b"damaged", [b"damaged", b""])]
)
def test_timing_cache_that_does_not_fit_is_begun_anew(
    monkeypatch: pytest.MonkeyPatch, kept: bytes, tried: list[bytes]
) -> None:
    """Of another GPU, another release, or cut short: it costs time, and no engine."""
    config = Weak()
    _, built = build(monkeypatch, module("10.3.0", config), timing_cache=kept)
    assert (tried, tried[-1] + b"+") == (config.caches, built.timing_cache)


def test_picture_whose_size_is_free_is_refused_with_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector's, before its size was fixed."""
    with pytest.raises(BuildFailed, match="more than a dynamic batch") as caught:
        build(monkeypatch, module("10.3.0", Weak(), shape=(1, 3, -1, -1)), precision="fp16")
    assert "--size" in caught.value.fix


def test_builder_that_is_a_null_pointer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT needs a GPU to build; its bindings say so with a TypeError."""

    def null(_log: Any) -> Any:
        msg = "pybind11::init(): factory function returned nullptr"
        raise TypeError(msg)

    stand_in = module("10.3.0", Weak())
    stand_in.Builder = null
    with pytest.raises(BuildFailed, match="has no builder here"):
        build(monkeypatch, stand_in)
