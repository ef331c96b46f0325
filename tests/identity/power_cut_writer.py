"""Changes a register for ever, three photos a change, until it is killed. Run by test_power_cut."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edge_app.identity.gallery import Gallery
from edge_app.identity.people import NewPhoto
from edge_app.records import Embedding, Quality


def main(path: Path, seed: int) -> None:
    """Register and remove people; print the version after each change that was reported as done."""
    rng = np.random.default_rng(seed)
    gallery = Gallery(path=path)
    gallery.create()
    while True:
        ref = f"P{int(rng.integers(0, 6))}"
        if ref in {person.ref for person in gallery.people()} and rng.random() < 0.6:
            version = gallery.remove(ref)
        else:
            version = gallery.add(ref=ref, name=f"name of {ref}", photos=[_photo(rng) for _ in range(3)])
        sys.stdout.write(f"{version}\n")
        sys.stdout.flush()


def _photo(rng: np.random.Generator) -> NewPhoto:
    vector = rng.normal(size=128)
    vector /= np.linalg.norm(vector)
    return NewPhoto(
        source_name="x.jpg",
        source_sha256=rng.bytes(32).hex(),
        quality=Quality(90, 200, 110, 50, 0, 0, 0, 0.8),
        embedding=Embedding(vector.astype(np.float32), "a" * 64, "b" * 64),
        crop=rng.integers(0, 256, (224, 224, 3), np.uint8),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
