"""The plain ONNX, its scales and the calibration pictures become everything that INT8 needs.

Written are ``NAME.qdq-fp32`` (opset 17: TensorRT 8.6 and 10, ONNX Runtime, OpenVINO), ``NAME.qdq-fp16``
(opset 19: strong typing, TensorRT 11, TensorRT-RTX), each with a manifest that carries all hashes and
the golden embeddings, and for implicit builders and DLA ``NAME.equal`` (float, channels equalised) with
``NAME.calib.cache``. Both Q/DQ files have the same placement, scales and biases.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from build_engine.correct import correct_biases
from build_engine.fp16 import to_fp16
from build_engine.placement import SECOND_TERMS, choose_float, choose_two_terms, prices, with_headroom
from build_engine.qdq import Share, insert_qdq, share_in_int8
from build_engine.rounding import round_weights
from build_engine.tune import tune_scales
from calibration.collect import Scales, batch_of, load_scales
from calibration.emit import write_cache
from calibration.equalise import equalise
from calibration.manifest import crops_of, load_calibration_manifest, replace_file
from calibration.network import load_network, quantised_convolutions, require_preprocess
from calibration.pictures import PictureFolder
from calibration.ranges import scale_of
from edge_app.engines.golden import GOLDEN_ID, golden_batch
from edge_app.engines.manifest import RECOGNISER, ModelManifest, load_manifest
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from build_engine.rounding import Rounded

#: Least cosine of the golden embeddings, INT8 against FP32: they are drawn, no faces, and tell a wrong or
#: damaged network from the right one; how good INT8 is on faces is for `build_engine.verify` to say.
MIN_GOLDEN: Final = 0.95
#: Choose the convolutions that stay in float by what they cost (`build_engine.placement`).
AUTO: Final = "auto"
#: What another backend's rounding may take from the golden cosine.
GOLDEN_MARGIN: Final = 0.01
#: Pictures for the bias correction: more change nothing that can be measured.
CORRECTION_PICTURES: Final = 32
#: Pictures for the tuning, which runs the network some 75 times on each.
TUNING_PICTURES: Final = 16
SUFFIX: Final = ".plain"


@dataclass(frozen=True, slots=True)
class Network:
    """The equalised float network, the FP32-typed Q/DQ network, the scales in it, and what was corrected."""

    equal: Any
    quantised: Any
    scales: dict[str, float]
    tuned: int = 0
    corrected: float | None = None
    floats: tuple[str, ...] = ()
    rounded: Mapping[str, Rounded] | None = None
    two_terms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quantised:
    """What was written, how much is in INT8, the least golden cosine, and the network."""

    files: tuple[Path, ...]
    share: Share
    golden_cosine: float
    network: Network

    def summary(self) -> str:
        """Return it in a few lines."""
        most = self.network.corrected
        bias = "not corrected" if most is None else f"corrected by up to {most:.3f}"
        floats, twice = (", ".join(x) or "none" for x in (self.network.floats, self.network.two_terms))
        return (
            f"in float besides depthwise ones: {floats}\n"
            f"with their input in two terms: {twice}\n"
            f"INT8: {self.share.convolutions} of {self.share.of} convolutions, "
            f"{self.share.mac_share:.1%} of the multiply-adds; "
            f"{self.network.tuned} ranges tuned, biases {bias}\n"
            f"golden embeddings, INT8 against FP32: cosine at least {self.golden_cosine:.5f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Where the calibration pictures and their manifest are."""

    folder: Path
    manifest: Path

    def crops(self, scales: Scales) -> npt.NDArray[np.uint8]:
        """Return the crops for the correction, evenly from the calibration set that made `scales`.

        Raises:
            ModelError: the manifest is another one than the scales were made with.
        """
        manifest, digest = load_calibration_manifest(self.manifest)
        if digest != scales.manifest_sha256:
            raise ModelError(
                f"the scales were made with another calibration manifest: {scales.manifest_sha256:.16}, "
                f"{self.manifest} is {digest:.16}",
                fix="run dsr-calibrate collect again",
            )
        crops = crops_of(manifest, PictureFolder(self.folder))
        return crops[:: max(1, len(crops) // CORRECTION_PICTURES)]


def quantise(
    model: Any,
    scales: Scales,
    crops: npt.NDArray[np.uint8] | None,
    *,
    keep_float: str = AUTO,
    second_terms: float = SECOND_TERMS,
) -> Network:
    """Return `model` in INT8; with `crops` weights rounded as one, ranges tuned and biases corrected.

    Args:
        model: the plain ONNX ModelProto whose hash `scales` names.
        scales: of ``dsr-calibrate collect``.
        crops: of the calibration pictures, (N, 224, 224, 3) uint8 RGB, or None.
        keep_float: which convolutions stay in float: `AUTO` chooses (with `crops`), else the beginnings of
            their names, separated by commas; empty for none.
        second_terms: what second terms may cost, as a share of all multiply-adds (with `crops`).
    """
    equal = equalise(model, scales.channels)
    measured = {name: tensor.scale for name, tensor in scales.tensors.items()}
    names = [node.output[0] for node in quantised_convolutions(equal)]
    if crops is None:
        floats = () if keep_float == AUTO else _named(names, keep_float)
        quantised = insert_qdq(equal, measured, only=[name for name in names if name not in floats])
        return Network(equal, quantised, measured, floats=floats)
    few = crops[:: max(1, len(crops) // TUNING_PICTURES)]
    rounded = round_weights(equal, crops)
    found = prices(equal, measured, few, rounded=rounded)
    floats = choose_float(found) if keep_float == AUTO else _named(names, keep_float)
    twice = choose_two_terms(found, floats, most=second_terms)
    only = [name for name in names if name not in floats]
    quantised = insert_qdq(equal, measured, only=only, rounded=rounded)
    limits = {name: scale_of(max(-t.low, t.high)) for name, t in scales.tensors.items() if t.quantised}
    reference = np.concatenate([embed(equal, batch_of(crop[None])) for crop in few])
    tuned = tune_scales(quantised, measured, limits, reference, few)
    tuned |= {name: tuned[t.owner] for name, t in scales.tensors.items() if t.quantised}
    changed = sum(tuned[name] != measured[name] for name in limits)
    tuned = with_headroom(equal, tuned, two_terms=twice)
    quantised = insert_qdq(equal, tuned, only=only, rounded=rounded, two_terms=twice)
    corrected = correct_biases(quantised, equal, crops)
    return Network(equal, quantised, tuned, changed, corrected, floats, rounded, twice)


def _named(names: Sequence[str], beginnings: str) -> tuple[str, ...]:
    wanted = tuple(part for part in beginnings.split(",") if part)
    return tuple(name for name in names if wanted and name.startswith(wanted))


def quantize_files(
    model_manifest: Path,
    scales_file: Path,
    out: Path,
    *,
    version: str,
    pictures: Pictures | None,
    keep_float: str = AUTO,
    second_terms: float = SECOND_TERMS,
) -> Quantised:
    """Write all files into `out`, manifests last; see the module's text.

    Args:
        model_manifest: of the plain ONNX, ``NAME.plain.json``.
        scales_file: of ``dsr-calibrate collect``.
        out: folder, made if missing.
        version: of TensorRT, for the cache's first line.
        pictures: for the bias correction; None leaves the biases as they are.
        keep_float: which convolutions stay in float, see `quantise`.
        second_terms: what second terms may cost, see `quantise`.

    Raises:
        ModelError: the network or the scales cannot be used, or belong to different networks, or the result
            misses the golden embeddings.
    """
    described, model, scales = _sources(model_manifest, scales_file)
    crops = pictures.crops(scales) if pictures else None
    network = quantise(model, scales, crops, keep_float=keep_float, second_terms=second_terms)
    golden, cosine = _golden(model, network.quantised, sha256=described.sha256)
    share = share_in_int8(network.quantised)
    hashes = {
        "model_sha256": described.sha256,
        "scales_sha256": hashlib.sha256(scales_file.read_bytes()).hexdigest(),
        "calibration_manifest_sha256": scales.manifest_sha256,
    }
    float_record = json.loads(model_manifest.read_bytes()) | hashes | {"precision": "fp32"}
    float_record.pop("golden", None)
    record = float_record | {
        "precision": "int8",
        "int8": _what_is_int8(share, scales, network),
        "golden": golden,
    }
    name = described.path.stem.removesuffix(SUFFIX)
    files = [
        write_variant(out, f"{name}.equal", network.equal, float_record),
        write_variant(out, f"{name}.qdq-fp32", network.quantised, record),
        write_variant(out, f"{name}.qdq-fp16", to_fp16(network.quantised), record),
    ]
    cache = out / f"{name}.calib.cache"
    cached = hashlib.sha256(files[0].with_suffix(".onnx").read_bytes()).hexdigest()
    write_cache(cache, network.scales, hashes=hashes | {"model_sha256": cached}, version=version)
    return Quantised((*files, cache), share, cosine, network)


def _sources(model_manifest: Path, scales_file: Path) -> tuple[ModelManifest, Any, Scales]:
    """Return the plain network with its manifest, and the scales that were measured on it.

    Raises:
        ModelError: one of them cannot be used, or they belong to different networks.
    """
    described = load_manifest(model_manifest)
    described.require_kind(RECOGNISER)
    model = load_network(described.path, sha256=described.sha256)
    require_preprocess(model, name=str(described.path))
    scales, _ = load_scales(scales_file)
    if scales.model_sha256 != described.sha256:
        raise ModelError(
            f"the scales {scales_file} were measured on another network: {scales.model_sha256:.16}, "
            f"{described.path} is {described.sha256:.16}",
            fix="run dsr-calibrate collect on this network",
        )
    return described, model, scales


def _golden(model: Any, quantised: Any, *, sha256: str) -> tuple[dict[str, Any], float]:
    """Return the golden record of the float `model` for its Q/DQ network, and the least cosine of that.

    Raises:
        ModelError: the Q/DQ network misses it.
    """
    reference, found = embed(model, golden_batch()), embed(quantised, golden_batch())
    cosine = float((reference * found).sum(axis=1).min())
    if not cosine >= MIN_GOLDEN:
        raise ModelError(
            f"INT8 misses the golden embeddings: cosine {cosine:.4f}, at least {MIN_GOLDEN} is needed",
            fix="look at the report of dsr-calibrate collect: the pictures do not look like faces in light",
        )
    record = {
        "pictures": GOLDEN_ID,
        "reference_sha256": sha256,
        "embedding": [[round(float(x), 7) for x in row] for row in reference],
        "min_cosine": round(max(MIN_GOLDEN, cosine - GOLDEN_MARGIN), 4),
    }
    return record, cosine


def _what_is_int8(share: Share, scales: Scales, network: Network) -> dict[str, Any]:
    """Return what stands as ``int8`` in the manifest."""
    return {
        "convolutions": share.convolutions,
        "of": share.of,
        "mac_share": round(share.mac_share, 4),
        "method": scales.method,
        "equalised": len(scales.channels),
        "float": list(network.floats),
        "rounded_as_one": network.rounded is not None,
        "two_terms": list(network.two_terms),
        "tuned": network.tuned,
        "bias_corrected": network.corrected is not None,
    }


def embed(model: Any, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what ONNX Runtime says to `batch`, (N, 3, 224, 224) -> (N, D)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0], np.float32)


def write_variant(out: Path, name: str, model: Any, record: Mapping[str, Any]) -> Path:
    """Write ``NAME.onnx`` and, last, ``NAME.json`` with `record` and the file's size and hash."""
    content = model.SerializeToString(deterministic=True)
    replace_file(out / f"{name}.onnx", content)
    full = {
        **record,
        "name": name,
        "file": f"{name}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    path = out / f"{name}.json"
    replace_file(path, (json.dumps(full, indent=1) + "\n").encode())
    return path
