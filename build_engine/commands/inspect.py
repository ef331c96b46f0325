"""``dsr-engine inspect``: what an engine really computes in, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from build_engine.inspect import Inspection
    from build_engine.layers import EngineLayer
    from edge_app.cli.parsers import SubParsers


def add_parser(subparsers: SubParsers) -> None:
    """Add the ``inspect`` sub-command."""
    parser = subparsers.add_parser("inspect", help="the engine's layers, their types, and the share in INT8")
    parser.add_argument("engine", type=Path, help="the engine's manifest, NAME.TAG.json")
    parser.add_argument(
        "--graph",
        type=Path,
        help="ONNX file that it was built from, to look the convolutions up again; "
        "without it the summary that was made when it was built is shown",
    )
    parser.add_argument("--layers", action="store_true", help="print every layer")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table; an INT8 engine that is none is an error (exit status 4)."""
    import hashlib
    import json

    from build_engine.inspect import inspect
    from build_engine.layers import layer_of
    from build_engine.sources import with_size
    from edge_app.engines.manifest import load_manifest
    from edge_app.errors import ModelError

    load_manifest(args.engine).verify()
    manifest = json.loads(args.engine.read_text(encoding="utf-8"))
    table = args.engine.with_suffix(".layers")
    try:
        layers = [layer_of(row) for row in json.loads(table.read_text(encoding="utf-8"))]
        graph = args.graph.read_bytes() if args.graph else None
    except OSError as error:
        raise ModelError(
            f"{error.filename} cannot be read: {error.strerror}",
            fix="give the manifest of an engine, as `dsr-engine build` prints it",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{table} is no layer table: {error}", fix="build the engine again") from error
    if args.layers:
        _print_layers(layers)
    builder = manifest["builder"]
    target = builder.get("target") or builder.get("gpu") or "an unknown GPU"
    print(
        f"{args.engine.stem}: {manifest['precision']} by {builder['name']} {builder['version']} for "
        f"{target}, {manifest['bytes'] / 1e6:.2f} MB, "
        f"{sum(layer.computes for layer in layers)} computing layers of {len(layers)}"
    )
    if manifest["precision"] != manifest["precision_wanted"]:
        print(f"  {manifest['precision_wanted']} was wanted: {manifest['fallback_reason']}")
    if graph is None:
        print(f"  when built: {manifest['layers']}")
        return 0
    if hashlib.sha256(graph).hexdigest() != manifest["model_sha256"]:
        raise ModelError(
            f"{args.graph} is not what {args.engine.stem} is made of ({manifest['model_sha256'][:16]}...)",
            fix="give the file with this hash",
        )
    size = manifest.get("size")
    inspection = inspect(with_size(graph, (size[0], size[1])) if size else graph, layers)
    _print_convolutions(inspection)
    if manifest["precision"] == "int8":
        inspection.require_int8()
    return 0


def _print_layers(layers: list[EngineLayer]) -> None:
    for layer in layers:
        if layer.computes:
            types = f"{'/'.join(layer.inputs) or '-'} -> {'/'.join(layer.outputs) or '-'}"
            print(f"  {layer.kind:12} {types:24} {', '.join(layer.nodes[:2]) or layer.name}")


def _print_convolutions(inspection: Inspection) -> None:
    total = sum(one.convolution.macs for one in inspection.placed)
    print(f"  {'type':8} {'MMAC':>7} {'share':>6}  convolution")
    for one in inspection.placed:
        macs = one.convolution.macs
        kind = " (depthwise)" if one.convolution.depthwise else ""
        print(f"  {one.type:8} {macs / 1e6:7.1f} {macs / total:6.1%}  {one.convolution.node}{kind}")
    print(f"  INT8: {inspection.int8_mac_share:.1%} of {total / 1e6:.0f} million multiply-accumulates")
