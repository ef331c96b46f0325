"""The register of people can be read, is whole, and everybody in it fits the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_app.health.doctor import ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_app.config import Config
    from edge_app.health.doctor import Finding

NAME: Final = "people"
_ADD: Final = "dsr-edge people add --ref CARD --name NAME photo.jpg ..."


def check_people(config: Config) -> Iterator[Finding]:
    """Read the register and compare it with the recogniser.

    Raises:
        GalleryError: it is damaged, unreadable, or somebody has no embedding by the configured model.
        ModelError: the recogniser's manifest cannot be read.
    """
    import numpy as np

    from edge_app.engines.manifest import load_manifest
    from edge_app.faces.preprocess import PREPROCESS_SHA256
    from edge_app.identity.alike import look_alikes
    from edge_app.identity.gallery import Gallery
    from edge_app.identity.match import templates_of

    path = config.gallery.path
    if not path.exists():
        yield warn(NAME, f"no register at {path} yet: everybody will be unknown", fix=_ADD)
        return
    gallery = Gallery(path=path)
    gallery.check()
    people = gallery.people()
    if not people:
        yield warn(NAME, "nobody is registered: everybody will be unknown", fix=_ADD)
        return
    model = load_manifest(config.recogniser.model)
    snapshot = gallery.snapshot(model_sha256=model.sha256, preprocess_sha256=PREPROCESS_SHA256)
    photos = sum(len(person.photos) for person in people)
    single = [person.ref for person in people if len(person.photos) == 1]
    few = f"; {len(single)} with one photo only, which recognises less well" if single else ""
    yield ok(
        NAME,
        f"{len(people)} people, {photos} photos, version {gallery.version}, "
        f"embedded by {model.sha256[:12]}{few}",
    )
    bar = 1.0 if model.threshold is None else model.threshold
    pairs = look_alikes(snapshot.refs, templates_of(snapshot), np.full(len(snapshot.refs), bar))
    if pairs:
        shown = ", ".join(f"{one} and {other} ({score:.2f})" for one, other, score in pairs[:3])
        yield warn(
            NAME,
            f"{len(pairs)} pair(s) look alike to the box: {shown}",
            fix="check that they are two people; more photos of both help: see docs/people.md",
        )
