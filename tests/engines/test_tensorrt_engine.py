"""What the engine does with the runtime, against a stand-in: no test machine has a GPU.

The stand-in keeps the rules of TensorRT 8.5 to 11 that matter here: tensors by name and address, a shape
to be set before the work is queued, and nothing computed before the stream is waited for.
"""

# ruff: noqa: D102, D106, ARG002 -- the stand-in's methods are TensorRT's and `Buffers`'

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_app.engines import store as stores
from edge_app.engines.buffers import Buffer, PycudaBuffers
from edge_app.engines.machine import Gpu
from edge_app.engines.tensorrt_engine import TensorRtEngine, open_plan
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_app.engines.store import EngineStore

SHAPES = {"input": (-1, 3, 4, 4), "embedding": (-1, 2)}


class Memory:
    """The GPU's memory: a copy of its own unless `shared`, and work that waits for `synchronise`."""

    stream = 77

    def __init__(self, *, shared: bool, graphs: bool) -> None:
        self.shared, self.graphs = shared, graphs
        self.device: dict[int, Any] = {}
        self.queue: list[Callable[[], None]] = []
        self.depth, self.captures, self.launches, self.closed = 0, 0, 0, False
        self.recordings: list[Recording] = []

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        assert self.depth
        host = np.zeros(shape, dtype)
        address = 1000 + len(self.device)
        self.device[address] = host if self.shared else np.zeros(shape, dtype)
        return Buffer(host=host, address=address)

    def upload(self, buffer: Buffer, count: int) -> None:
        self.queue.append(lambda: self.device[buffer.address].__setitem__(slice(count), buffer.host[:count]))

    def download(self, buffer: Buffer, count: int) -> None:
        self.queue.append(lambda: buffer.host.__setitem__(slice(count), self.device[buffer.address][:count]))

    def synchronise(self) -> None:
        assert self.depth
        work, self.queue = self.queue, []
        for step in work:
            step()

    def capture(self, work: Callable[[], bool]) -> Recording | None:
        self.captures += 1
        if not self.graphs:
            return None
        before = len(self.queue)
        assert work()
        recorded, self.queue = self.queue[before:], self.queue[:before]
        self.recordings.append(Recording(self, recorded))
        return self.recordings[-1]

    def close(self) -> None:
        self.closed = True


class Recording:
    """Work that was recorded in `memory`'s queue."""

    def __init__(self, memory: Memory, recorded: list[Callable[[], None]]) -> None:
        self.memory, self.recorded, self.closed = memory, recorded, False

    def launch(self) -> None:
        self.memory.launches += 1
        self.memory.queue.extend(self.recorded)

    def close(self) -> None:
        assert self.memory.depth
        self.closed = True


class Runtime:
    """The module ``tensorrt`` as far as the engine uses it: the sum and the mean of every picture."""

    class TensorIOMode:
        INPUT, OUTPUT = "in", "out"

    class ILogger: ...

    def __init__(
        self,
        memory: Memory,
        *,
        refuses: str = "",
        works: bool = True,
        full: bool = False,
        takes: bool = True,
        most: int = 4,
    ) -> None:
        self.memory, self.refuses, self.works = memory, refuses, works
        self.full, self.takes, self.most = full, takes, most
        self.addresses: dict[str, int] = {}
        self.count = 0
        self.num_io_tensors = 2

    def Runtime(self, log: Any) -> Runtime:  # noqa: N802 -- TensorRT's name
        self.log = log
        return self

    def deserialize_cuda_engine(self, plan: bytes) -> Runtime | None:
        assert self.memory.depth
        if self.refuses:
            self.log.log(SimpleNamespace(name="ERROR"), self.refuses)
        return None if self.refuses else self

    def create_execution_context(self) -> Runtime | None:
        return None if self.full else self

    def get_tensor_name(self, index: int) -> str:
        return list(SHAPES)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "input" else "out"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return SHAPES[name]

    def get_tensor_dtype(self, _name: str) -> str:
        return "float32"

    def nptype(self, dtype: str) -> Any:
        return np.dtype(dtype).type

    def get_tensor_profile_shape(self, _name: str, _profile: int) -> list[tuple[int, ...]]:
        return [(1, 3, 4, 4), (min(2, self.most), 3, 4, 4), (self.most, 3, 4, 4)]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return self.takes

    def set_input_shape(self, _name: str, shape: tuple[int, ...]) -> bool:
        self.count = shape[0]
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == Memory.stream
        count = self.count

        def compute() -> None:
            pictures = self.memory.device[self.addresses["input"]][:count]
            out = self.memory.device[self.addresses["embedding"]]
            out[:count, 0], out[:count, 1] = pictures.sum((1, 2, 3)), pictures.mean((1, 2, 3))

        self.memory.queue.append(compute)
        return self.works


def engine(memory: Memory, **changes: Any) -> TensorRtEngine:
    """Open the stand-in's engine."""
    return TensorRtEngine(b"plan", trt=Runtime(memory, **changes), buffers=memory, backend="tensorrt-int8")


def pictures(count: int, seed: int) -> np.ndarray:
    """Return `count` random pictures."""
    return np.random.default_rng(seed).normal(size=(count, 3, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_every_batch_gives_its_own_answer(shared: bool, graphs: bool) -> None:
    """With shared memory or copies, as a graph or kernel by kernel, sizes in any order."""
    memory = Memory(shared=shared, graphs=graphs)
    opened = engine(memory)
    kept = []
    for seed, count in enumerate([1, 1, 1, 1, 3, 1, 3, 3, 3, 2, 1]):
        batch = pictures(count, seed)
        (found,) = opened.run(batch)
        kept.append((batch, found))
    for batch, found in kept:
        np.testing.assert_allclose(batch.sum((1, 2, 3)), found[:, 0], rtol=1e-5)
        np.testing.assert_allclose(batch.mean((1, 2, 3)), found[:, 1], rtol=1e-5)
    assert (2, 0) == (memory.captures, memory.depth)
    assert (memory.launches > 0) == graphs


@pytest.mark.parametrize(
    "batch",
    [np.zeros((5, 3, 4, 4), np.float32), np.zeros((0, 3, 4, 4), np.float32), np.zeros((1, 3, 4, 4))],
    ids=["too-many", "none", "float64"],
)
def test_what_does_not_fit_is_refused(batch: np.ndarray) -> None:
    """The plan's profile goes from 1 to 4."""
    with pytest.raises(ModelError, match=r"tensorrt-int8 takes \(1\.\.4, 3, 4, 4\) float32; received"):
        engine(Memory(shared=True, graphs=True)).run(batch)


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("Serialization assertion failed", "build it again here"),
        (
            "The engine cannot run on this GPU, which has compute capability 9.0",
            "the CPU runs the recogniser",
        ),
    ],
)
def test_plan_that_the_runtime_refuses_is_an_error_with_what_it_said(said: str, fix: str) -> None:
    """It gives None; why it told its log. The second was heard on a GPU that TensorRT-RTX does not know."""
    with pytest.raises(ModelError, match=f"refuses the plan.*{said}") as caught:
        engine(Memory(shared=True, graphs=True), refuses=said)
    assert fix in str(caught.value.fix)


def test_real_runtime_says_why_it_refuses_garbage() -> None:
    """TensorRT-RTX's own runtime, which needs no GPU to refuse."""
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: x86-64 only")
    with pytest.raises(ModelError, match=r"refuses the plan \(400 bytes\): .*[Ee]rror"):
        TensorRtEngine(b"rubbish " * 50, trt=trt, buffers=Memory(shared=True, graphs=True), backend="x")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"full": True}, "no memory left on the GPU"), ({"takes": False}, "does not take memory for input")],
)
def test_what_the_runtime_only_returns_is_an_error(wrong: dict[str, bool], said: str) -> None:
    """It raises nothing: a context that is None, an address that was refused."""
    with pytest.raises(ModelError, match=said):
        engine(Memory(shared=True, graphs=True), **wrong)


def test_runtime_that_cannot_be_made_is_an_error() -> None:
    """Its bindings turn a null pointer into a TypeError."""
    memory = Memory(shared=True, graphs=True)
    runtime = Runtime(memory)
    runtime.Runtime = _null  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"has no runtime here: .*returned nullptr"):
        TensorRtEngine(b"plan", trt=runtime, buffers=memory, backend="tensorrt-int8")


def _null(_log: Any) -> Runtime:
    msg = "pybind11::init(): factory function returned nullptr"
    raise TypeError(msg)


def test_engine_of_one_batch_says_so() -> None:
    """A DLA's plan has no other: who uses it sees a fixed size, and gives one picture at a time."""
    opened = engine(Memory(shared=True, graphs=True), most=1)
    assert (1, 3, 4, 4) == opened.inputs[0].shape
    assert (1, 2) == opened.run(pictures(1, 0))[0].shape
    with pytest.raises(ModelError, match=r"takes \(1\.\.1, 3, 4, 4\)"):
        opened.run(pictures(2, 0))


def test_gpu_that_fails_is_an_error() -> None:
    """Queueing can fail, and so can the driver."""
    memory = Memory(shared=True, graphs=False)
    with pytest.raises(ModelError, match="could not queue"):
        engine(memory, works=False).run(pictures(1, 0))
    broken = engine(memory)
    memory.synchronise = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(ModelError, match="the GPU failed in tensorrt-int8"):
        broken.run(pictures(1, 0))


def test_closed_engine_frees_and_says_so() -> None:
    """Twice is once."""
    memory = Memory(shared=True, graphs=True)
    opened = engine(memory)
    for seed in range(4):
        opened.run(pictures(1, seed))
    opened.close()
    opened.close()
    assert memory.closed
    assert [True] == [recording.closed for recording in memory.recordings]
    with pytest.raises(ModelError, match="is closed"):
        opened.run(pictures(1, 0))


def test_pycuda_that_is_missing_says_how_to_get_it() -> None:
    """It has no wheels: it is built where CUDA's compiler is."""
    with pytest.raises(ModelError, match="pycuda cannot be used here") as caught:
        PycudaBuffers()
    assert "nvcc" in caught.value.fix


def test_real_plan_without_a_gpu_is_refused_with_the_reason(store: EngineStore, engine_id: str) -> None:
    """TensorRT-RTX is installed here, the GPU that its plan needs is not."""
    with pytest.raises(ModelError, match="needs a GPU; the CUDA driver finds none here"):
        open_plan(store.read(engine_id))


def test_real_plan_of_another_version_is_refused(
    store: EngineStore, engine_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU fits, the library was upgraded."""
    import tensorrt_rtx

    monkeypatch.setattr(stores, "find_gpu", lambda: Gpu("RTX 3060", "8.6", "13.0"))
    monkeypatch.setattr(tensorrt_rtx, "__version__", "1.8.0.1")
    with pytest.raises(ModelError, match=r"was built by tensorrt-rtx 1\.7\.1\.\d+; this box has 1\.8\.0\.1"):
        open_plan(store.read(engine_id))
