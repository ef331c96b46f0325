"""The driver's calls in their order, against a stand-in: no test machine has a GPU."""

# ruff: noqa: N802, D102 -- the driver's names, and its documents

from __future__ import annotations

from typing import Any

import pytest

from edge_app.engines.cuda_graph import capture

STREAM = 77


class Driver:
    """``libcuda`` as far as a recording uses it; `fails` is the call that gives an error."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.called = fails, []  # type: ignore[var-annotated]

    def _call(self, name: str) -> int:
        self.called.append(name)
        return 1 if name == self.fails else 0

    def cuStreamBeginCapture_v2(self, stream: Any, mode: int) -> int:
        assert (STREAM, 1) == (stream.value, mode)
        return self._call("begin")

    def cuStreamEndCapture(self, _stream: Any, graph: Any) -> int:
        graph._obj.value = 5
        return self._call("end")

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:
        assert (5, 0) == (graph.value, flags.value)
        executable._obj.value = 6
        return self._call("instantiate")

    def cuGraphDestroy(self, graph: Any) -> int:
        assert 5 == graph.value
        return self._call("destroy")

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:
        assert (6, STREAM) == (executable.value, stream.value)
        return self._call("launch")

    def cuGraphExecDestroy(self, executable: Any) -> int:
        assert 6 == executable.value
        return self._call("free")


def test_recorded_launched_freed() -> None:
    """The graph itself goes at once, what can be launched when it is closed, and that once."""
    driver = Driver()
    graph = capture(STREAM, lambda: not driver._call("work"), driver=driver)
    assert graph is not None
    graph.launch()
    graph.close()
    graph.close()
    assert ["begin", "work", "end", "instantiate", "destroy", "launch", "free"] == driver.called


@pytest.mark.parametrize(
    ("fails", "called"),
    [
        ("begin", ["begin"]),
        ("work", ["begin", "work", "end", "destroy"]),
        ("end", ["begin", "work", "end"]),
        ("instantiate", ["begin", "work", "end", "instantiate", "destroy"]),
    ],
)
def test_what_cannot_be_recorded_gives_no_graph_and_leaves_nothing(fails: str, called: list[str]) -> None:
    """The work is then queued kernel by kernel; the stream does not stay in recording."""
    driver = Driver(fails)
    assert None is capture(STREAM, lambda: not driver._call("work"), driver=driver)
    assert called == driver.called


def test_work_that_raises_ends_the_recording() -> None:
    """Else everything that is queued later would be lost in it."""
    driver = Driver()
    with pytest.raises(ZeroDivisionError):
        capture(STREAM, lambda: bool(1 / 0), driver=driver)
    assert ["begin", "end"] == driver.called


def test_launch_that_is_refused_is_an_error() -> None:
    """The engine turns it into one that names the backend."""
    graph = capture(STREAM, lambda: True, driver=Driver("launch"))
    assert graph is not None
    with pytest.raises(RuntimeError, match="cuGraphLaunch gave 1"):
        graph.launch()


def test_without_a_driver_there_is_no_graph() -> None:
    """This machine has none."""
    assert None is capture(STREAM, lambda: True)
