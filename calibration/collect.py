"""Run the network on the calibration crops, see every tensor's values, and choose its scale.

Two passes: the first finds each tensor's extremes, the second fills its histogram, so that bins need
never be widened. All activations are observed, not only those of the Q/DQ files, because an implicit
TensorRT builder (and DLA) wants a range for each.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.equalise import ChannelExtremes, Channels, choose_channels, equalisable_tensors
from calibration.manifest import replace_file
from calibration.network import float_tensors, quantised_tensors
from calibration.ranges import METHODS, Histogram, bin_values, scale_of
from edge_app.errors import ModelError
from edge_app.faces.preprocess import CROP_SIZE, PREPROCESS_ID, PREPROCESS_SHA256, normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

FORMAT: Final = "dsr-scales-v1"
METHOD: Final = "wide"
#: A tensor that is zero on every picture still needs a scale; nothing is lost with this one.
_DEAD_AMAX: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TensorScale:
    """A tensor's chosen range, what the other methods would choose, and its extremes.

    `owner` names the tensor whose scale this one shares (usually itself); `quantised` whether it
    stands in the Q/DQ files; `clipped` is the share of values beyond `amax`.
    """

    amax: float
    owner: str
    quantised: bool
    low: float
    high: float
    clipped: float
    by_method: Mapping[str, float]

    @property
    def scale(self) -> float:
        """Return the scale, an FP16 number."""
        return scale_of(self.amax)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """All scales of one network with the hashes of what they were made from.

    Ranges are those of the network after `calibration.equalise.equalise` with `channels`.
    """

    model_sha256: str
    manifest_sha256: str
    method: str
    pictures: int
    tensors: Mapping[str, TensorScale]
    channels: Mapping[str, Channels]
    made_with: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "calibration_manifest_sha256": self.manifest_sha256,
            "preprocess": {"id": PREPROCESS_ID, "sha256": PREPROCESS_SHA256},
            "method": self.method,
            "pictures": self.pictures,
            "made_with": dict(self.made_with),
            "channels": {
                name: {"factor": c.factor.tolist(), "centre": c.centre.tolist()}
                for name, c in self.channels.items()
            },
            "tensors": {
                name: {
                    "scale": t.scale,
                    "amax": t.amax,
                    "owner": t.owner,
                    "quantised": t.quantised,
                    "low": t.low,
                    "high": t.high,
                    "clipped": t.clipped,
                    "by_method": dict(t.by_method),
                }
                for name, t in self.tensors.items()
            },
        }

    def write(self, path: Path) -> str:
        """Write it aside, rename it, and return its SHA-256."""
        content = (json.dumps(self.as_json(), indent=1) + "\n").encode()
        replace_file(path, content)
        return hashlib.sha256(content).hexdigest()


def load_scales(path: Path) -> tuple[Scales, str]:
    """Return the scales in `path` and the file's SHA-256.

    Raises:
        ModelError: missing or not what `Scales.write` wrote, or made with another preprocessing.
    """
    try:
        data = path.read_bytes()
        content = json.loads(data)
        if content["format"] != FORMAT or content["preprocess"]["sha256"] != PREPROCESS_SHA256:
            msg = f"format {content['format']!r}, preprocessing {content['preprocess']['id']!r}"
            raise ValueError(msg)  # noqa: TRY301 -- one handler for all that can be wrong
        scales = Scales(
            model_sha256=content["model_sha256"],
            manifest_sha256=content["calibration_manifest_sha256"],
            method=content["method"],
            pictures=int(content["pictures"]),
            tensors={name: _tensor(row) for name, row in content["tensors"].items()},
            channels={
                name: Channels(np.array(row["factor"], np.float64), np.array(row["centre"], np.float64))
                for name, row in content["channels"].items()
            },
            made_with=content["made_with"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"the scales {path} cannot be used: {error}", fix="make them: dsr-calibrate collect"
        ) from error
    return scales, hashlib.sha256(data).hexdigest()


def _tensor(row: Mapping[str, Any]) -> TensorScale:
    return TensorScale(
        amax=float(row["amax"]),
        owner=str(row["owner"]),
        quantised=bool(row["quantised"]),
        low=float(row["low"]),
        high=float(row["high"]),
        clipped=float(row["clipped"]),
        by_method={name: float(value) for name, value in row["by_method"].items()},
    )


def batch_of(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return crops, (N, 224, 224, 3) uint8 RGB, as the network takes them: (N, 3, 224, 224) in -1..1."""
    return np.ascontiguousarray(normalise(crops).transpose(0, 3, 1, 2))


def require_normalised(batch: npt.NDArray[np.float32]) -> None:
    """Refuse a batch that did not come out of the one preprocessing: it would calibrate to nonsense.

    Raises:
        ModelError: not (N, 3, 224, 224) float32, beyond -1..1 (0..255 fed raw), or in 0..1 (divided by 255).
    """
    low, high = float(batch.min()), float(batch.max())
    shape_fits = batch.dtype == np.float32 and batch.shape[1:] == (3, CROP_SIZE, CROP_SIZE)
    if not shape_fits or not (low >= -1 and high <= 1) or low >= 0:
        raise ModelError(
            f"the calibration batch is {batch.shape} {batch.dtype} in {low:.2f}..{high:.2f}; expected "
            f"(N, 3, {CROP_SIZE}, {CROP_SIZE}) float32 in -1..1: wrong preprocessing",
            fix="prepare pictures with edge_app.faces.preprocess (align, normalise), never by hand",
        )


class Observer:
    """A network in ONNX Runtime whose every activation is an output.

    Args:
        model: the ONNX ModelProto.
        tensors: names of the activations to see; the network's input may be among them.
    """

    def __init__(self, model: Any, tensors: list[str]) -> None:
        import onnx
        import onnxruntime

        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        self.input: str = model.graph.input[0].name
        self._names = [name for name in tensors if name != self.input]
        del watched.graph.output[:]
        watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._names)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Return each tensor's values for `batch`, the input among them; only float tensors."""
        found = self._session.run(None, {self.input: batch})
        values = dict(zip(self._names, found, strict=True)) | {self.input: batch}
        return {name: value for name, value in values.items() if value.dtype == np.float32}


def observe(
    model: Any, crops: npt.NDArray[np.uint8], *, tensors: list[str] | None = None
) -> dict[str, Histogram]:
    """Return the histogram of each activation of `model` over `crops`, (N, 224, 224, 3) uint8 RGB.

    A tensor that is zero everywhere gets an empty range of 1.
    """
    observer = Observer(model, tensors or float_tensors(model))
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for values in _passes(observer, crops, "extremes"):
        for name, value in values.items():
            low[name] = min(low.get(name, np.inf), float(value.min()))
            high[name] = max(high.get(name, -np.inf), float(value.max()))
    bad = [name for name in low if not np.isfinite(low[name] + high[name])]
    if bad:
        raise ModelError(
            f"{bad[0]} has values that are not finite", fix="the weights are broken: export again"
        )
    amax = {name: max(-low[name], high[name]) or _DEAD_AMAX for name in low}
    counts: dict[str, npt.NDArray[np.int64]] = {}
    for values in _passes(observer, crops, "histograms"):
        for name, value in values.items():
            added = bin_values(value, amax[name])
            counts[name] = counts[name] + added if name in counts else added
    return {name: Histogram(counts[name], amax[name], low[name], high[name]) for name in counts}


def observe_channels(model: Any, crops: npt.NDArray[np.uint8]) -> dict[str, Channels]:
    """Return how the channels of `model` are to be equalised, after seeing `crops`."""
    wanted = equalisable_tensors(model)
    if not wanted:
        return {}
    seen: dict[str, ChannelExtremes] = {}
    for values in _passes(Observer(model, wanted), crops, "channels"):
        for name in wanted:
            zero = np.zeros(values[name].shape[1], np.float64)
            seen.setdefault(name, ChannelExtremes(zero, zero)).add(values[name])
    return choose_channels(model, seen)


def _passes(
    observer: Observer, crops: npt.NDArray[np.uint8], what: str
) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    for number, crop in enumerate(crops):
        batch = batch_of(crop[None])
        require_normalised(batch)
        yield observer.run(batch)
        if (number + 1) % 16 == 0:
            _log.info("%s: %d of %d pictures", what, number + 1, len(crops))


def choose_scales(
    model: Any,
    histograms: Mapping[str, Histogram],
    *,
    method: str = METHOD,
    compare: tuple[str, ...] = tuple(METHODS),
) -> dict[str, TensorScale]:
    """Return the scale of every observed tensor by `method`, and what the methods in `compare` would say.

    Raises:
        ModelError: an unknown method, or a tensor that is quantised was not observed.
    """
    if method not in METHODS:
        raise ModelError(f"there is no method {method!r}", fix=f"one of: {', '.join(METHODS)}")
    shared = quantised_tensors(model)
    unseen = [name for name in shared if name not in histograms]
    if unseen:
        raise ModelError(f"{len(unseen)} tensors were not observed: {', '.join(unseen[:5])}")
    found: dict[str, TensorScale] = {}
    for name, histogram in histograms.items():
        owner = shared.get(name, name)
        of_owner = histograms[owner]
        ask = {method, *compare} if name in shared else {method}
        by_method = {one: METHODS[one](histogram) for one in METHODS if one in ask}
        amax = METHODS[method](of_owner) if owner != name else by_method[method]
        found[name] = TensorScale(
            amax=max(amax, _LEAST_AMAX),
            owner=owner,
            quantised=name in shared,
            low=histogram.low,
            high=histogram.high,
            clipped=histogram.clipped_share(amax),
            by_method=by_method,
        )
    return found


#: Below this `scale_of` cannot be FP16; a tensor so small adds nothing anyway.
_LEAST_AMAX: Final = 127 * 6.2e-5


def versions() -> dict[str, str]:
    """Return the versions of what the ranges were measured with."""
    import cv2
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__, "opencv": cv2.__version__}
