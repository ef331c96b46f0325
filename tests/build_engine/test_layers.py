from __future__ import annotations

import json

import pytest

from build_engine.layers import EngineLayer, layer_of, parse_layers
from edge_app.errors import ModelError

#: As TensorRT-RTX 1.7.1 logs it, shortened.
LINE = (
    "Name: f5_U145_myl0_110, LayerType: correlation, Inputs: [ { Name: a_myl0, Dimensions: [-1,256,28,28], "
    "StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ { Name: "
    "w_myl0, Dimensions: [512,256,1,1], Datatype: Int8, Format: (NHWC) Channel major format }, { Name: "
    "s_myl0, Dimensions: [1,512,1,1], Datatype: Float, Format: (NHWC) Channel major format }], Outputs: "
    "[ { Name: b_myl0, Dimensions: [-1,512,28,28], Datatype: Half, Format: (NHWC) Channel major format }], "
    "TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: f5][ONNX Layer: f5_DQ]"
)
#: As TensorRT 10's inspector gives it, shortened.
INSPECTED = {
    "Layers": [
        {
            "Name": "f5 + relu",
            "LayerType": "CaskConvolution",
            "Inputs": [
                {"Name": "a", "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}
            ],
            "Outputs": [{"Name": "b", "Format/Datatype": "Row major linear FP16 format"}],
            "Weights": {"Type": "Int8", "Count": 131072},
            "Metadata": "[ONNX Layer: f5]\u001e[ONNX Layer: relu]",
        }
    ],
    "Bindings": ["input", "embedding"],
}


def test_line_of_the_log_is_read() -> None:
    """Types of inputs, weights and outputs, and the ONNX nodes that it came from."""
    (layer,) = parse_layers(f"Engine Layer Information:\nLayers:\n{LINE}\n\nBindings:\ninput")
    assert (
        EngineLayer(
            name="f5_U145_myl0_110",
            kind="correlation",
            inputs=("Int8",),
            constants=("Int8", "Float"),
            outputs=("Half",),
            nodes=("f5", "f5_DQ"),
        )
        == layer
    )
    assert layer.int8
    assert layer.computes


def test_weights_in_floating_point_are_no_int8_layer() -> None:
    """An INT8 input is not enough: the weights may have stayed in floating point."""
    (layer,) = parse_layers(LINE.replace("[512,256,1,1], Datatype: Int8", "[512,256,1,1], Datatype: Float"))
    assert not layer.int8


def test_wait_and_signal_compute_nothing() -> None:
    """Streams wait for each other; that is no layer of the network."""
    text = "Name: w, LayerType: wait, Inputs: [], Constants: [], Outputs: [], TacticName: , Metadata: "
    assert not parse_layers(text)[0].computes


def test_inspectors_json_is_read() -> None:
    """The types stand in another place there, in words."""
    (layer,) = parse_layers(json.dumps(INSPECTED))
    assert (("Int8",), ("Int8",), ("FP16",), ("f5", "relu")) == (
        layer.inputs,
        layer.constants,
        layer.outputs,
        layer.nodes,
    )


def test_record_is_read_back() -> None:
    """What is written beside the engine is what was read from the builder."""
    (layer,) = parse_layers(LINE)
    assert layer == layer_of(json.loads(json.dumps(layer.record())))


@pytest.mark.parametrize("text", ["", "the builder said nothing of layers", '{"Layers": []}', '{"none": 1}'])
def test_missing_table_is_an_error(text: str) -> None:
    """An engine without a table cannot be judged."""
    with pytest.raises(ModelError, match=r"layer table|inspector"):
        parse_layers(text)
