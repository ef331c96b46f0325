"""Memory that host and GPU share, behind an interface small enough to be swapped or stood in for.

On a Jetson, CPU and GPU have one memory: pinned pages mapped into the GPU's addresses need no copy at
all. A graphics card has its own, so there the pinned pages are copied on the stream. No CUDA context is
made behind anybody's back (``pycuda.autoinit`` ties one to the importing thread): the device's primary
context is retained once and made current around each use, so any thread may run the engine.

Has not run on a device yet.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Buffer:
    """`host`, the array that the CPU sees, and `address`, where the GPU finds it or its copy."""

    host: npt.NDArray[Any]
    address: int


class Graph(Protocol):
    """Recorded work."""

    def launch(self) -> None:
        """Queue it again."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class Buffers(Protocol):
    """A GPU's memory and the stream that work is queued on."""

    @property
    def stream(self) -> int:
        """The CUDA stream's handle."""
        ...

    def current(self) -> contextlib.AbstractContextManager[None]:
        """Make the GPU's context current in this thread for as long as the ``with`` lasts."""
        ...

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Buffer:
        """Return zeroed memory for both."""
        ...

    def upload(self, buffer: Buffer, count: int) -> None:
        """Queue the copy of the first `count` rows to the GPU; nothing to do where memory is shared."""
        ...

    def download(self, buffer: Buffer, count: int) -> None:
        """Queue the copy of the first `count` rows from the GPU; nothing to do where memory is shared."""
        ...

    def synchronise(self) -> None:
        """Wait until all that is queued is done."""
        ...

    def capture(self, work: Callable[[], bool]) -> Graph | None:
        """Record what `work` queues, so that it is queued again at one call; None if it cannot be."""
        ...

    def close(self) -> None:
        """Free the memory and let go of the context."""
        ...


class PycudaBuffers:
    """`Buffers` on pycuda, on the first GPU.

    Raises:
        ModelError: pycuda is not installed, or there is no GPU.
    """

    def __init__(self) -> None:
        try:
            from pycuda import driver
        except (ImportError, OSError) as error:
            raise ModelError(
                f"pycuda cannot be used here: {error}", fix="pip install pycuda (needs CUDA's compiler nvcc)"
            ) from error
        try:
            driver.init()
            device = driver.Device(0)
            self._shared = bool(device.get_attribute(driver.device_attribute.INTEGRATED))
            self._context = device.retain_primary_context()
        except driver.Error as error:
            raise ModelError(f"there is no GPU that CUDA can use: {error}") from error
        self._driver = driver
        self._device_memory: dict[int, Any] = {}
        with self.current():
            self._stream = driver.Stream()

    @property
    def stream(self) -> int:
        """The CUDA stream's handle."""
        return int(self._stream.handle)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make the primary context current in this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Buffer:
        """Return pinned memory, mapped where host and GPU share theirs and with a copy where not."""
        flags = self._driver.host_alloc_flags.DEVICEMAP
        host = self._driver.pagelocked_zeros(shape, np.dtype(dtype), mem_flags=flags)
        if self._shared:
            return Buffer(host=host, address=int(host.base.get_device_pointer()))
        memory = self._driver.mem_alloc(host.nbytes)
        self._device_memory[int(memory)] = memory
        return Buffer(host=host, address=int(memory))

    def upload(self, buffer: Buffer, count: int) -> None:
        """Queue the copy of the first `count` rows to the GPU."""
        if not self._shared:
            self._driver.memcpy_htod_async(buffer.address, buffer.host[:count], self._stream)

    def download(self, buffer: Buffer, count: int) -> None:
        """Queue the copy of the first `count` rows from the GPU."""
        if not self._shared:
            self._driver.memcpy_dtoh_async(buffer.host[:count], buffer.address, self._stream)

    def synchronise(self) -> None:
        """Wait for the stream."""
        self._stream.synchronize()

    def capture(self, work: Callable[[], bool]) -> Graph | None:
        """Record `work` as a CUDA graph; None where this driver or this work cannot be recorded."""
        from edge_app.engines.cuda_graph import capture

        return capture(self.stream, work)

    def close(self) -> None:
        """Free everything. Safe to call twice."""
        if self._context is None:
            return
        with self.current():
            for memory in self._device_memory.values():
                memory.free()
            self._device_memory.clear()
        self._context.detach()
        self._context = None
