"""The recognisers that evaluation puts side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dsr_inception.embedders import Mirrored, OnnxEmbedder
from edge_app.embedding.recogniser import Recogniser
from edge_app.engines.golden import golden_pictures

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "dsr_inception.json"


def test_evaluation_embeds_as_the_box_does() -> None:
    """For the same crops evaluation and the box give the same vectors: of the face and its mirror image."""
    box = Recogniser.open(SHIPPED)
    crops = golden_pictures()
    crops[:, :, :60] //= 3
    single = OnnxEmbedder(box.manifest.path, name="ours")
    found = Mirrored(single).embed(crops)
    np.testing.assert_allclose(np.stack([e.vector for e in box.embed(crops)]), found, atol=1e-5)
    assert ((found * single.embed(crops)).sum(axis=1) < 0.9999).all()
