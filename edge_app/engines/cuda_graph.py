"""Record what is queued on a CUDA stream, and queue it again at one call.

This network is some hundred small kernels; launching each costs a small CPU more than running it costs
the GPU. pycuda has no graphs, so the driver is called directly. Whatever goes wrong, the answer is that
there is no graph, and the work is queued kernel by kernel as before.

Has not run on a device yet.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Only this thread's calls are watched while recording: other threads may use CUDA meanwhile.
_THREAD_LOCAL: Final = 1


def capture(stream: int, work: Callable[[], bool]) -> Callable[[], None] | None:
    """Return a function that queues again on `stream` what `work` queues; None if it cannot be recorded.

    `work` returns whether it could be queued.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    handle, graph, executable = ctypes.c_void_p(stream), ctypes.c_void_p(), ctypes.c_void_p()
    if driver.cuStreamBeginCapture_v2(handle, _THREAD_LOCAL):
        return None
    queued = work()
    ended = driver.cuStreamEndCapture(handle, ctypes.byref(graph))
    if ended or not queued or not graph:
        return None
    failed = driver.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
    driver.cuGraphDestroy(graph)
    if failed:
        return None

    def launch() -> None:
        status = driver.cuGraphLaunch(executable, handle)
        if status:
            msg = f"cuGraphLaunch gave {status}"
            raise RuntimeError(msg)

    return launch
