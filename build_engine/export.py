"""From the trained Keras recogniser to the ONNX file that a box runs, with its manifest.

Only this module imports keras. The graph takes ``input`` (N, 3, 224, 224) float32 -- NCHW, RGB in
-1..1 as ``edge_app.faces.preprocess.normalise`` gives it -- and returns ``embedding`` (N, 128) of unit
length. tf2onnx converts at opset 17; the BatchNormalization is then pushed forward (`fold`) for the
FP32 file of CPUs, and left where it is for the file that is quantised. Id and hash of the
preprocessing stand in the ONNX metadata and in the manifest. Before anything is written, ONNX Runtime
must agree with Keras to 1e-4 on noise and on flat pictures.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from build_engine.fold import fold_batch_normalisation
from build_engine.sources import golden_of
from build_engine.split import split_residuals
from edge_app.errors import ModelError
from edge_app.faces.preprocess import CROP_SIZE, PREPROCESS_ID, PREPROCESS_SHA256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INPUT: Final = "input"
OUTPUT: Final = "embedding"
OPSET: Final = 17
#: Largest difference of any embedding component between Keras and ONNX Runtime.
PARITY: Final = 1e-4
#: Least cosine of a CPU runtime's golden embeddings; OpenVINO's BF16 was measured at .9999.
MIN_GOLDEN: Final = 0.998
LICENCE: Final = (
    "Research weights: trained on CelebA, for non-commercial research only; see MODEL_CARD.md. "
    "All ash and tunnel conditions in training and thresholds are simulated."
)
#: How the converter names constants that it folded.
_NUMBERED: Final = re.compile(r"__\d+$")

_log = logging.getLogger(__name__)


def onnx_from_keras(model: Any, *, fold: bool = True) -> Any:
    """Return `model`, a ``dsr_inception.network.recogniser`` at 224, as an ONNX ModelProto.

    Args:
        model: (B, 224, 224, 3) -> (B, D); its batch size becomes ``N``.
        fold: push BatchNormalization forward and split the residuals (FP32 on CPUs); False for the
            graph to quantise.

    Raises:
        ModelError: a BatchNormalization scale is not positive, or ONNX Runtime disagrees with Keras.
    """
    _require_positive_scales(model)
    converted = _converted(model)
    _rename(converted)
    _put_in_order(converted)
    plain_difference = parity(model, converted)
    result = split_residuals(fold_batch_normalisation(converted)) if fold else converted
    difference = parity(model, result)
    _log.info("ONNX against Keras: plain %.1e, written %.1e", plain_difference, difference)
    if not difference <= PARITY:
        raise ModelError(
            f"ONNX Runtime and Keras differ by {difference:.2e} (allowed {PARITY:.0e})",
            fix="run the conversion with the package versions of the lock file",
        )
    metadata = {
        "preprocess_id": PREPROCESS_ID,
        "preprocess_sha256": PREPROCESS_SHA256,
        "batch_normalisation": "folded" if fold else "plain",
    }
    for key, value in metadata.items():
        entry = result.metadata_props.add()
        entry.key, entry.value = key, value
    return result


def _require_positive_scales(model: Any) -> None:
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            lowest = float(np.min(np.asarray(layer.gamma)))
            if not lowest > 0:
                raise ModelError(
                    f"the BatchNormalization {layer.name!r} has a scale of {lowest:.3g}; it must be positive",
                    fix="train with the constraint blocks.AtLeast, as dsr_inception.network does",
                )


def _converted(model: Any) -> Any:
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, CROP_SIZE, CROP_SIZE, 3), tf.float32, name=INPUT)]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(
        function, input_signature=signature, opset=OPSET, inputs_as_nchw=[INPUT]
    )
    return proto


def _rename(proto: Any) -> None:
    """Give the output its name, the batch the name N, and the tensors names without Keras' prefixes."""
    graph = proto.graph
    graph.name = "dsr_inception"
    taken = {INPUT}
    names = {graph.output[0].name: OUTPUT}

    def short(name: str) -> str:
        if name == INPUT or not name:
            return name
        if name not in names:
            parts = name.split(":", maxsplit=1)[0].split("/")
            base = "/".join(parts[1:]) if len(parts) > 1 else parts[0]
            base, count = base or name, 1
            while (wanted := base if count == 1 else f"{base}.{count}") in taken | {OUTPUT}:
                count += 1
            taken.add(wanted)
            names[name] = wanted
        return names[name]

    for node in graph.node:
        for listed in (node.input, node.output):
            for position, name in enumerate(listed):
                listed[position] = short(name)
        node.name = node.output[0]
    for weight in graph.initializer:
        weight.name = short(weight.name)
    graph.output[0].name = OUTPUT
    del graph.value_info[:]
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "N"


def _put_in_order(proto: Any) -> None:
    """Order nodes and constants by who reads them: the converter's order and numbers change from run to run.

    The same weights are then the same bytes, and keep their hash.
    """
    graph = proto.graph
    makers = {output: node for node in graph.node for output in node.output}
    weights = {weight.name: weight for weight in graph.initializer}
    nodes: list[Any] = []
    constants: dict[str, Any] = {}

    def follow(node: Any) -> None:
        del makers[node.output[0]]
        for position, name in enumerate(node.input):
            if name in makers:
                follow(makers[name])
            elif name in weights:
                if name not in constants:
                    constants[name] = weights[name]
                    if _NUMBERED.search(name):
                        weights[name].name = f"{node.output[0]}/constant{position}"
                node.input[position] = weights[name].name
        nodes.append(node)

    follow(makers[graph.output[0].name])
    ordered, kept = (copy.deepcopy(list(found)) for found in (nodes, constants.values()))
    del graph.node[:], graph.initializer[:]
    graph.node.extend(ordered)
    graph.initializer.extend(kept)


def parity(model: Any, proto: Any, *, seed: int = 0) -> float:
    """Return the largest difference of any component between Keras and ONNX Runtime on four pictures."""
    import onnxruntime

    rng = np.random.default_rng(seed)
    pictures = rng.uniform(-1, 1, (4, CROP_SIZE, CROP_SIZE, 3)).astype(np.float32)
    pictures[1] = 0.3
    pictures[2, :, :112] = -1.0
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (ours,) = session.run([OUTPUT], {INPUT: np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))})
    theirs = np.asarray(model(pictures, training=False))
    return float(np.abs(ours - theirs).max())


def write_model(
    proto: Any,
    folder: Path,
    *,
    threshold: float,
    threshold_source: str,
    training: Mapping[str, object],
    name: str = "dsr_inception",
) -> Path:
    """Write ``NAME.onnx`` and its manifest ``NAME.json`` into `folder`; return the manifest's path.

    Both are written aside, synced and renamed, the manifest last. What the model says to the golden
    pictures stands in the manifest; the box compares whatever runs it with that at every start.
    """
    content = proto.SerializeToString(deterministic=True)
    dim = proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    manifest = {
        "name": name,
        "kind": "recogniser",
        "file": f"{name}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "input": {"name": INPUT, "shape": [None, 3, CROP_SIZE, CROP_SIZE], "dtype": "float32"},
        "output": {"name": OUTPUT, "dim": dim},
        "preprocess": {"id": PREPROCESS_ID, "sha256": PREPROCESS_SHA256},
        "threshold": threshold,
        "threshold_source": threshold_source,
        "licence": LICENCE,
        "training": dict(training),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / f"{name}.onnx", content)
    golden = golden_of(folder / f"{name}.onnx")
    manifest["golden"] = golden | {"reference_sha256": manifest["sha256"], "min_cosine": MIN_GOLDEN}
    path = folder / f"{name}.json"
    _replace(path, (json.dumps(manifest, indent=1) + "\n").encode())
    return path


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_suffix(f"{path.suffix}.{os.getpid()}.tmp")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m build_engine.export", description="Convert a trained recogniser to ONNX."
    )
    parser.add_argument("--weights", type=Path, required=True, help="the recogniser, .keras")
    parser.add_argument("--out", type=Path, default=Path("models"), help="folder for NAME.onnx and NAME.json")
    parser.add_argument("--name", default="dsr_inception", help="name of the model and of its files")
    parser.add_argument(
        "--threshold",
        type=Path,
        help="JSON of `dsr-train threshold`; without it the manifest already in the folder keeps its own",
    )
    return parser.parse_args(argv)


def _threshold(path: Path | None, manifest: Path) -> tuple[float, str]:
    source = path if path is not None else manifest
    try:
        content = json.loads(source.read_text())
        return float(content["threshold"]), str(content["threshold_source"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{source} gives no threshold: {error}",
            fix="choose one on development people: dsr-train threshold --model ... --out threshold.json",
        ) from error


def export_recogniser(
    weights: Path, out: Path, *, name: str = "dsr_inception", threshold_file: Path | None = None
) -> list[Path]:
    """Write ``NAME``, ``NAME.plain`` and ``NAME.fp16``, each .onnx with its .json; return the manifests.

    Args:
        weights: the recogniser, .keras; a .keras.json beside it is taken over as the record of its training.
        out: folder of the files.
        name: of the model.
        threshold_file: of ``dsr-train threshold``; without it the manifest already in `out` keeps its own.

    Raises:
        ModelError: the weights cannot be read or exported, or there is no threshold.
    """
    import keras

    from build_engine.fp16 import write_fp16_twin
    from dsr_inception import network  # noqa: F401 -- registers the layers that the file names

    threshold, source = _threshold(threshold_file, out / f"{name}.json")
    try:
        model = keras.saving.load_model(weights)
    except (OSError, ValueError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{weights} is no recogniser that Keras can read: {first}",
            fix="give the .keras file of dsr-train",
        ) from error
    record = weights.with_suffix(".keras.json")
    training = json.loads(record.read_text()) if record.is_file() else {"weights": weights.name}
    written = [
        write_model(
            onnx_from_keras(model, fold=fold),
            out,
            threshold=threshold,
            threshold_source=source,
            training=training,
            name=name if fold else f"{name}.plain",
        )
        for fold in (True, False)
    ]
    return [*written, write_fp16_twin(written[0])]


def main(argv: Sequence[str] | None = None) -> int:
    """Export a .keras recogniser; return the exit status. ``dsr-engine export`` is the same."""
    arguments = _arguments(argv)
    written = export_recogniser(
        arguments.weights, arguments.out, name=arguments.name, threshold_file=arguments.threshold
    )
    for path in written:
        print(path)  # noqa: T201 -- this is a command line
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
