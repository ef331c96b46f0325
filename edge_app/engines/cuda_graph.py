"""Record what is queued on a CUDA stream, and queue it again at one call.

This network is some hundred small kernels; launching each costs a small CPU more than running it costs
the GPU. pycuda has no graphs, so the driver is called directly. Whatever goes wrong, the answer is that
there is no graph, and the work is queued kernel by kernel as before.

Has not run on a device yet.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Only this thread's calls are watched while recording: other threads may use CUDA meanwhile.
_THREAD_LOCAL: Final = 1


class CudaGraph:
    """An executable graph of the CUDA driver, queued on one stream."""

    def __init__(self, driver: Any, executable: ctypes.c_void_p, stream: ctypes.c_void_p) -> None:
        self._driver, self._executable, self._stream = driver, executable, stream

    def launch(self) -> None:
        """Queue it.

        Raises:
            RuntimeError: the driver refuses.
        """
        status = self._driver.cuGraphLaunch(self._executable, self._stream)
        if status:
            msg = f"cuGraphLaunch gave {status}"
            raise RuntimeError(msg)

    def close(self) -> None:
        """Free it. Safe to call twice."""
        if self._executable:
            self._driver.cuGraphExecDestroy(self._executable)
            self._executable = ctypes.c_void_p()


def capture(stream: int, work: Callable[[], bool], *, driver: Any = None) -> CudaGraph | None:
    """Return what queues again on `stream` what `work` queues; None if it cannot be recorded.

    `work` returns whether it could be queued; `driver` is ``libcuda.so.1`` unless given.
    """
    if driver is None:
        try:
            driver = ctypes.CDLL("libcuda.so.1")
        except OSError:
            return None
    handle, graph, executable = ctypes.c_void_p(stream), ctypes.c_void_p(), ctypes.c_void_p()
    if driver.cuStreamBeginCapture_v2(handle, _THREAD_LOCAL):
        return None
    queued = False
    try:
        queued = work()
    finally:  # whatever happens, the stream must not stay in recording
        ended = driver.cuStreamEndCapture(handle, ctypes.byref(graph))
    if ended or not graph:
        return None
    failed = not queued or driver.cuGraphInstantiateWithFlags(
        ctypes.byref(executable), graph, ctypes.c_ulonglong(0)
    )
    driver.cuGraphDestroy(graph)
    return None if failed else CudaGraph(driver, executable, handle)
