"""What every inference backend looks like to the rest of the program.

Detector and recogniser both run on an `Engine`, so that a new backend is written once. An engine is
opened from a model file whose manifest has been checked (`edge_app.engines.manifest`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape (None for a dynamic axis) and dtype of one input or output."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Engine(Protocol):
    """A loaded network. One thread calls `run` at a time."""

    @property
    def backend(self) -> str:
        """Which backend runs it, e.g. ``onnxruntime-cpu``; named in logs, status and every event."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The network's inputs."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The network's outputs."""
        ...

    def run(self, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run the network on its single input and return its outputs in order.

        Raises:
            ModelError: the shape does not fit, or the backend failed.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds. Safe to call twice."""
        ...
