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
    from edge_app.engines.manifest import load_manifest
    from edge_app.faces.preprocess import PREPROCESS_SHA256
    from edge_app.identity.gallery import Gallery

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
    gallery.snapshot(model_sha256=model.sha256, preprocess_sha256=PREPROCESS_SHA256)
    photos = sum(len(person.photos) for person in people)
    single = [person.ref for person in people if len(person.photos) == 1]
    few = f"; {len(single)} with one photo only, which recognises less well" if single else ""
    yield ok(
        NAME,
        f"{len(people)} people, {photos} photos, version {gallery.version}, "
        f"embedded by {model.sha256[:12]}{few}",
    )
