"""Histograms of every quantised tensor with all the ranges, as one HTML page without a script.

The vertical axis is logarithmic: what a range cuts off is rare by nature and must still be seen.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calibration.collect import Scales, TensorScale
    from calibration.ranges import Histogram

_WIDTH: Final = 520
_HEIGHT: Final = 90
_BARS: Final = 130
_COLOURS: Final = {"max": "#888", "percentile": "#c60", "mse": "#06c", "wide": "#a0c", "entropy": "#090"}


def report_html(scales: Scales, histograms: Mapping[str, Histogram]) -> str:
    """Return the page: what the scales were made from, then one figure a quantised tensor."""
    rows = [(name, t) for name, t in scales.tensors.items() if t.quantised]
    key = " ".join(f'<b style="color:{colour}">{name}</b>' for name, colour in _COLOURS.items())
    head = (
        "<!doctype html><meta charset=utf-8><title>Calibration</title>"
        "<style>body{font:14px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.1em .8em;"
        "text-align:right}figure{margin:1.2em 0}</style>"
        f"<h1>Calibration ranges</h1><p>{scales.pictures} pictures, method <b>{scales.method}</b>, "
        f"network {scales.model_sha256[:16]}, manifest {scales.manifest_sha256[:16]}.</p>"
        f"<p>Absolute values, log count. Vertical lines: {key}.</p>"
    )
    return head + "".join(_figure(name, t, histograms[name]) for name, t in rows) + "\n"


def _figure(name: str, tensor: TensorScale, histogram: Histogram) -> str:
    at, counts = histogram.magnitudes
    bars = np.add.reduceat(counts, np.linspace(0, len(counts), _BARS, endpoint=False).astype(int))
    tall = np.log1p(bars) / np.log1p(max(1, bars.max())) * _HEIGHT
    width = _WIDTH / _BARS
    drawn = "".join(
        f'<rect x="{i * width:.1f}" y="{_HEIGHT - t:.1f}" width="{width:.1f}" height="{t:.1f}" fill="#bcd"/>'
        for i, t in enumerate(tall)
    )
    lines = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y2="{_HEIGHT}" stroke="{_COLOURS[method]}" stroke-width="2"/>'
        for method, amax in tensor.by_method.items()
        if (x := amax / at[-1] * _WIDTH) >= 0
    )
    ranges = ", ".join(f"{method} {amax:.4g}" for method, amax in tensor.by_method.items())
    shared = f", shares the scale of {html.escape(tensor.owner)}" if tensor.owner != name else ""
    return (
        f"<figure><b>{html.escape(name)}</b> {tensor.low:.3g} .. {tensor.high:.3g}{shared}<br>"
        f'<svg width="{_WIDTH}" height="{_HEIGHT}">{drawn}{lines}</svg><br>'
        f"<small>range {tensor.amax:.4g}, scale {tensor.scale:.5g}, {tensor.clipped:.4%} cut off; {ranges}"
        "</small></figure>"
    )
