"""Implicit INT8 for DLA: TensorRT's own calibration, up to 10.x, fed with the project's pictures.

A DLA reads no Q/DQ. It takes the equalised float graph, and ranges from a calibrator that sees the very
crops of the calibration manifest. Has not run on a device yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_app.engines.manifest import load_manifest
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from build_engine.trt_api import Toolkit


def calibrator_for(toolkit: Toolkit, model: Path, *, manifest: Path | None, pictures: Path | None) -> Any:
    """Return the calibrator for the equalised graph beside the FP32 model `model`.

    Args:
        toolkit: who builds; it must have calibrators.
        model: ``NAME.json``; the network is ``NAME.equal.onnx``, the cache ``NAME.calib.cache``.
        manifest: of the calibration pictures, as ``dsr-calibrate manifest`` wrote it.
        pictures: the folder that they lie in.

    Raises:
        ModelError: this builder has no calibrators, or pictures and manifest were not given.
    """
    if not toolkit.has_calibrators:
        raise ModelError(
            f"{toolkit.name} {toolkit.version} has no calibrators, and a DLA takes INT8 from nothing else",
            fix="build for the GPU (without --dla), or with TensorRT up to 10.x",
        )
    if manifest is None or pictures is None:
        raise ModelError(
            "a DLA's INT8 is calibrated on pictures; none were given",
            fix="add --calibration MANIFEST and --pictures FOLDER",
        )
    from calibration.calibrator import Feed, int8_entropy_calibrator
    from calibration.manifest import crops_of, load_calibration_manifest
    from calibration.pictures import PictureFolder
    from edge_app.engines.buffers import PycudaBuffers

    network = load_manifest(model.with_name(f"{model.stem}.equal.json"))
    listed, _ = load_calibration_manifest(manifest)
    feed = Feed(
        crops_of(listed, PictureFolder(pictures)),
        model_sha256=network.sha256,
        cache=model.with_name(f"{model.stem}.calib.cache"),
    )
    memory = PycudaBuffers()
    with memory.current():
        buffer = memory.allocate((feed.batch, *(axis or 1 for axis in network.input.shape[1:])), "float32")

    def upload(batch: npt.NDArray[np.float32]) -> int:
        with memory.current():
            buffer.host[: len(batch)] = batch
            memory.upload(buffer, len(batch))
            memory.synchronise()
        return buffer.address

    return int8_entropy_calibrator(feed, upload)
