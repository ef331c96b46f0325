from __future__ import annotations

import hashlib

import numpy as np

from edge_app.engines.golden import GOLDEN_ID, golden_batch, golden_pictures
from edge_app.faces.preprocess import normalise


def test_pictures_are_the_same_bytes_everywhere() -> None:
    """A golden record is worth nothing for other pictures; who changes them counts the id up."""
    found = hashlib.sha256(golden_pictures().tobytes()).hexdigest()
    assert ("golden-v1", "484c44170c9bdad61c46e643fd6feef13d7f89f16bf285ba803e76cd4b6aedad") == (
        GOLDEN_ID,
        found,
    )


def test_batch_is_the_pictures_as_the_network_takes_them() -> None:
    """Planes of float32 in -1..1, by the one preprocessing there is."""
    batch, pictures = golden_batch(), golden_pictures()
    assert ((2, 3, 224, 224), np.float32) == (batch.shape, batch.dtype)
    np.testing.assert_array_equal(normalise(pictures[1])[..., 2], batch[1, 2])
    assert -1.0 <= batch.min() < batch.max() <= 1.0


def test_pictures_differ_and_are_no_flat_colour() -> None:
    """An engine that sees nothing would pass otherwise."""
    one, other = golden_pictures().astype(int)
    assert np.abs(one - other).mean() > 20
    assert min(one.std(), other.std()) > 30
