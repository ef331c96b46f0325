"""The same network with FP16 types, for builders that take the types as they stand (strong typing).

Input and output stay float32, with casts; so do the last steps of a recogniser, after the embedding's
matrix product: the sum of squares would overflow FP16. Where Q/DQ pairs stand, their float side
becomes FP16 (opset 19 allows that) and the weights become the INT8 numbers themselves, dequantised
once, so that no FP32 weight is left in the file.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.manifest import replace_file
from calibration.network import load_network
from edge_app.engines.manifest import load_manifest
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

#: The first opset in which Q and DQ take FP16.
OPSET: Final = 19
_IR_VERSION: Final = 9
_FP16_MAX: Final = float(np.finfo(np.float16).max)
#: What comes after the first of these is float32.
_PRODUCTS: Final = ("MatMul", "Gemm")


def to_fp16(model: Any) -> Any:
    """Return `model` (float32, with or without Q/DQ) with FP16 types inside, opset 19.

    Raises:
        ModelError: a weight is too large for FP16, or the graph cannot be brought to opset 19.
    """
    import onnx
    from onnx import TensorProto, helper

    result = _at_opset(model)
    _store_int8_weights(result)
    tail = _tail(result)
    nodes: list[Any] = []
    casts: dict[tuple[str, int], str] = {}
    graph = result.graph
    half_inputs = {value.name for value in graph.input}
    float_made = {out for node in graph.node if node.output[0] in tail for out in node.output} | half_inputs
    converted = _convert_weights(result, tail)

    def typed(name: str, wanted: int, *, is_float: bool) -> str:
        """Return `name` in the wanted type, through one cast where it has the other."""
        have = TensorProto.FLOAT if name in float_made else TensorProto.FLOAT16
        if not is_float or have == wanted:
            return name
        if (name, wanted) not in casts:
            casts[name, wanted] = f"{name}/as-{'fp32' if wanted == TensorProto.FLOAT else 'fp16'}"
            nodes.append(
                helper.make_node("Cast", [name], [casts[name, wanted]], to=wanted, name=casts[name, wanted])
            )
        return casts[name, wanted]

    integers = _integer_tensors(result)
    for node in list(graph.node):
        wanted = TensorProto.FLOAT if node.output[0] in tail else TensorProto.FLOAT16
        for position, name in enumerate(node.input):
            if name and name not in converted:
                node.input[position] = typed(name, wanted, is_float=name not in integers)
        nodes.append(node)
    _finish_outputs(graph, nodes, float_made)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    onnx.checker.check_model(result, full_check=True)
    return result


def _at_opset(model: Any) -> Any:
    import onnx
    from onnx import version_converter

    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset >= OPSET:
        result = onnx.ModelProto()
        result.CopyFrom(model)
    else:
        try:
            result = version_converter.convert_version(model, OPSET)
        except (RuntimeError, onnx.checker.ValidationError) as error:
            raise ModelError(f"the network cannot be brought to opset {OPSET}: {error}") from error
        del result.metadata_props[:]
        result.metadata_props.extend(model.metadata_props)
    result.ir_version = max(result.ir_version, _IR_VERSION)
    _constants_to_weights(result)
    return result


def _constants_to_weights(model: Any) -> None:
    """Turn Constant nodes (the version converter makes some) into initialisers, whose type is known."""
    import onnx

    for node in [n for n in model.graph.node if n.op_type == "Constant"]:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if value is None:
            raise ModelError(f"the constant {node.output[0]!r} is no tensor", fix="export the network again")
        weight = onnx.TensorProto()
        weight.CopyFrom(value)
        weight.name = node.output[0]
        model.graph.initializer.append(weight)
        model.graph.node.remove(node)


def _store_int8_weights(model: Any) -> None:
    """Replace ``float weight -> Q -> DQ`` with ``INT8 weight -> DQ``."""
    from onnx import numpy_helper

    from build_engine.qdq import quantised_weights

    weights = {w.name: w for w in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type == "QuantizeLinear" and node.input[0] in weights:
            kernel = numpy_helper.to_array(weights[node.input[0]])
            steps = quantised_weights(kernel, numpy_helper.to_array(weights[node.input[1]]))
            model.graph.initializer.remove(weights[node.input[0]])
            model.graph.initializer.append(numpy_helper.from_array(steps, node.output[0]))
            model.graph.node.remove(node)


def _tail(model: Any) -> set[str]:
    """Return the outputs of the nodes that stay float32: all that follows the first matrix product."""
    found: set[str] = set()
    products: set[str] = set()
    for node in model.graph.node:
        if any(name in found or name in products for name in node.input):
            found.update(node.output)
        elif node.op_type in _PRODUCTS:
            products.update(node.output)
    return found


def _convert_weights(model: Any, tail: set[str]) -> set[str]:
    """Turn float32 constants outside the tail into FP16; return the names of all constants."""
    from onnx import TensorProto, numpy_helper

    late = {name for node in model.graph.node if node.output[0] in tail for name in node.input}
    names = set()
    for weight in model.graph.initializer:
        names.add(weight.name)
        if weight.data_type != TensorProto.FLOAT or weight.name in late:
            continue
        value = numpy_helper.to_array(weight)
        largest = float(np.abs(value).max(initial=0))
        if largest > _FP16_MAX:
            raise ModelError(f"the weight {weight.name!r} reaches {largest:.3g}: too large for FP16")
        weight.CopyFrom(numpy_helper.from_array(value.astype(np.float16), weight.name))
    return names


def _integer_tensors(model: Any) -> set[str]:
    """Return tensors that are not float: what QuantizeLinear gives."""
    return {name for node in model.graph.node if node.op_type == "QuantizeLinear" for name in node.output}


def _finish_outputs(graph: Any, nodes: list[Any], float_made: set[str]) -> None:
    """Give every output its float32 back: the node that makes it writes to a new name, a cast to the old."""
    from onnx import TensorProto, helper

    for output in graph.output:
        if output.name in float_made:
            continue
        inner = f"{output.name}/as-made"
        for node in nodes:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    if name == output.name:
                        names[position] = inner
        cast = helper.make_node("Cast", [inner], [output.name], to=TensorProto.FLOAT, name=output.name)
        nodes.append(cast)


def write_fp16_twin(manifest: Path, *, name: str | None = None) -> Path:
    """Write the FP16-typed twin of the model in `manifest` beside it; return the twin's manifest.

    Its name is the model's with ``.fp16`` unless `name` is given; precision and origin stand in it.

    Raises:
        ModelError: the model is not what its manifest says, or cannot be FP16.
    """
    model = load_manifest(manifest)
    twin = to_fp16(load_network(model.path, sha256=model.sha256))
    content = twin.SerializeToString(deterministic=True)
    stem = name or f"{model.path.stem}.fp16"
    record: dict[str, Any] = json.loads(manifest.read_bytes())
    record |= {
        "name": stem,
        "file": f"{stem}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "precision": "fp16",
        "model_sha256": model.sha256,
    }
    replace_file(manifest.with_name(f"{stem}.onnx"), content)
    path = manifest.with_name(f"{stem}.json")
    replace_file(path, (json.dumps(record, indent=1) + "\n").encode())
    return path
