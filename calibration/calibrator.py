"""TensorRT's implicit calibration, for builders up to 10.x and for DLA: **not yet run on a device**.

`int8_entropy_calibrator` returns an object of a class derived from ``tensorrt.IInt8EntropyCalibrator2``
that feeds the crops of a calibration manifest. It is written to the documented interface
(``get_batch_size``, ``get_batch``, ``read_calibration_cache``, ``write_calibration_cache``); TensorRT
deprecated it in 10.1 and removed it in 11, and neither it nor DLA can run without a device. What does not
need one -- batches, the cache, the refusal of a cache of other weights -- is in `Feed`, which is tested.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Protocol

from calibration.collect import batch_of, require_normalised
from calibration.emit import parse_cache, read_cache
from calibration.manifest import replace_file
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt


class Upload(Protocol):
    """Copies a batch to the device and returns its address there, valid until the next call."""

    def __call__(self, batch: npt.NDArray[np.float32]) -> int:
        """Return the device address of `batch`."""
        ...


class Feed:
    """Batches of calibration crops, and a cache that belongs to one network.

    Args:
        crops: (N, 224, 224, 3) uint8 RGB (`calibration.manifest.crops_of`).
        model_sha256: of the network that is built.
        cache: the cache's path; read if it is there and of this network.
        batch: pictures a batch; a last incomplete one is left out, as TensorRT wants full ones.
    """

    def __init__(
        self, crops: npt.NDArray[np.uint8], *, model_sha256: str, cache: Path, batch: int = 8
    ) -> None:
        if len(crops) < batch or batch < 1:
            raise ModelError(
                f"{len(crops)} crops do not fill one batch of {batch}", fix="use a smaller batch"
            )
        self._crops, self._model_sha256, self._cache = crops, model_sha256, cache
        self.batch = batch
        self._next = 0

    def next_batch(self) -> npt.NDArray[np.float32] | None:
        """Return the next (B, 3, 224, 224) float32, None when all have been given."""
        part = self._crops[self._next : self._next + self.batch]
        if len(part) < self.batch:
            return None
        self._next += self.batch
        batch = batch_of(part)
        require_normalised(batch)
        return batch

    def cached(self) -> bytes | None:
        """Return the cache, None where there is none.

        Raises:
            ModelError: it is of other weights, or altered: calibrating with it would be silently wrong.
        """
        return read_cache(self._cache, model_sha256=self._model_sha256) if self._cache.exists() else None

    def keep(self, content: bytes) -> None:
        """Write a cache that TensorRT made, with its sidecar."""
        import json

        version, _ = parse_cache(content.decode())
        replace_file(self._cache, content)
        record = {
            "file": self._cache.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "model_sha256": self._model_sha256,
            "tensorrt": version,
            "run_on_device": True,
        }
        sidecar = self._cache.with_name(f"{self._cache.name}.json")
        replace_file(sidecar, (json.dumps(record, indent=1) + "\n").encode())


def int8_entropy_calibrator(feed: Feed, upload: Upload) -> Any:
    """Return an ``IInt8EntropyCalibrator2`` on `feed`, for ``IBuilderConfig.int8_calibrator``.

    Raises:
        ModelError: this TensorRT has no calibrators (11 and later, TensorRT-RTX), or is not installed.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise ModelError(
            f"TensorRT is not installed: {error}", fix="on a Jetson it comes with JetPack; build there"
        ) from error
    base = getattr(tensorrt, "IInt8EntropyCalibrator2", None)
    if base is None:
        raise ModelError(
            f"TensorRT {tensorrt.__version__} has no calibrators; they were removed in 11",
            fix="build from the Q/DQ file: dsr-engine build --precision int8",
        )
    return _derived(base)(feed, upload)


def _derived(base: Any) -> Any:
    class EntropyCalibrator(base):  # type: ignore[misc]  # the base is known when TensorRT is there
        """Feeds crops; every method is called by TensorRT's builder."""

        def __init__(self, feed: Feed, upload: Upload) -> None:
            base.__init__(self)  # TensorRT's bindings want it called so, not through super()
            self._feed, self._upload = feed, upload

        def get_batch_size(self) -> int:
            return self._feed.batch

        def get_batch(self, names: list[str]) -> list[int] | None:
            if len(names) != 1:
                raise ModelError(f"the network must have one input; TensorRT asks for {names}")
            batch = self._feed.next_batch()
            return None if batch is None else [self._upload(batch)]

        def read_calibration_cache(self) -> bytes | None:
            return self._feed.cached()

        def write_calibration_cache(self, cache: Any) -> None:
            self._feed.keep(bytes(cache))

    return EntropyCalibrator
