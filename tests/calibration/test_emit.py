"""The calibration cache and what feeds TensorRT's implicit calibration, as far as no device is needed."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from calibration.calibrator import Feed, int8_entropy_calibrator
from calibration.emit import cache_text, parse_cache, read_cache, write_cache
from edge_app.errors import ModelError
from tests import small_inception as small

if TYPE_CHECKING:
    from pathlib import Path

HASHES = {"model_sha256": "a" * 64, "scales_sha256": "b" * 64}


def test_text_is_tensorrts() -> None:
    """First line, then big-endian float32 in hex: 1/127 is 3c010204, worked out by hand."""
    text = cache_text({"input": 1 / 127, "conv:0 out": 2.0}, version="8602")
    assert "TRT-8602-EntropyCalibration2\ninput: 3c010204\nconv:0 out: 40000000\n" == text
    version, scales = parse_cache(text)
    assert ("8602", 2.0) == (version, scales["conv:0 out"])
    assert struct.unpack(">f", bytes.fromhex("3c010204"))[0] == scales["input"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TRT-8602-MinMaxCalibration\n",
        "TRT-1-EntropyCalibration2\ninput 3c\n",
        "TRT-1-EntropyCalibration2\na: zz\n",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """Empty, another algorithm, a line that is none."""
    with pytest.raises(ModelError, match="calibration cache"):
        parse_cache(text)


def test_cache_of_other_weights_is_refused(tmp_path: Path) -> None:
    """TensorRT would take it in silence; so would it an altered one."""
    path = tmp_path / "x.cache"
    write_cache(path, {"input": 0.5}, hashes=HASHES, version="100300")
    assert path.read_bytes() == read_cache(path, model_sha256="a" * 64)
    with pytest.raises(ModelError, match="made for other weights"):
        read_cache(path, model_sha256="c" * 64)
    path.write_text(path.read_text().replace("3f000000", "3f800000"))
    with pytest.raises(ModelError, match="altered"):
        read_cache(path, model_sha256="a" * 64)
    assert json.loads((tmp_path / "x.cache.json").read_text())["run_on_device"] is False


def test_feed_gives_full_batches_of_normalised_crops(tmp_path: Path) -> None:
    """Ten crops in batches of four are two batches; no cache is there before TensorRT has made one."""
    feed = Feed(small.pictures(10), model_sha256="a" * 64, cache=tmp_path / "c", batch=4)
    first, second = feed.next_batch(), feed.next_batch()
    assert first is not None
    assert second is not None
    assert ((4, 3, 224, 224), np.float32) == (first.shape, first.dtype)
    assert feed.next_batch() is None
    assert feed.cached() is None
    content = cache_text({"input": 0.25}, version="100300").encode()
    feed.keep(content)
    assert content == feed.cached()
    other = Feed(small.pictures(4), model_sha256="d" * 64, cache=tmp_path / "c", batch=4)
    with pytest.raises(ModelError, match="other weights"):
        other.cached()
    with pytest.raises(ModelError, match="do not fill one batch"):
        Feed(small.pictures(2), model_sha256="a" * 64, cache=tmp_path / "c", batch=4)


def test_without_tensorrt_the_calibrator_says_so(tmp_path: Path) -> None:
    """It is imported late, and its absence (or its having no calibrators) is one line with a way out."""
    feed = Feed(small.pictures(4), model_sha256="a" * 64, cache=tmp_path / "c", batch=4)
    with pytest.raises(ModelError, match="TensorRT"):
        int8_entropy_calibrator(feed, lambda _: 0)
