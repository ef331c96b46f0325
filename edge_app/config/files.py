"""Whether the files that a configuration names are there, before a start finds out.

Models, recordings, folders, keys and certificates are tried here; devices and addresses are the
doctor's to try. A model's manifest is followed to the model itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edge_app.config.document import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_app.config.schema import BrokerConfig, Config

FILE: Final = "file"
FOLDER: Final = "folder"
_Needed = tuple[str, "Path", str]


def missing_files(config: Config) -> list[Problem]:
    """Return a problem for every file or folder that `config` names and that cannot be read."""
    return [
        Problem(key=key, line=None, what=what, fix=f"put the {kind} there or change {key}")
        for key, path, kind in _needed(config)
        if (what := _obstacle(path, kind))
    ]


def _needed(config: Config) -> Iterator[_Needed]:
    yield from _model("detector.model", config.detector.model)
    yield from _model("recogniser.model", config.recogniser.model)
    for i, camera in enumerate(config.cameras):
        source = camera.source
        if source.kind in {"file", "folder"}:
            yield f"cameras[{i}].source.path", source.path, source.kind
    planes = (("delivery", config.delivery.brokers), ("sparkplug", config.sparkplug.brokers))
    for plane, brokers in planes:
        for i, broker in enumerate(brokers):
            yield from _secrets(f"{plane}.brokers[{i}]", broker)
    for i, consumer in enumerate(config.delivery.consumers):
        yield f"delivery.consumers[{i}].key_file", consumer.key_file, FILE
    if config.gallery.bundle_key is not None:
        yield "gallery.bundle_key", config.gallery.bundle_key, FILE
    for i, signer in enumerate(config.commands.keys):
        yield f"commands.keys[{i}].public_file", signer.public_file, FILE


def _model(key: str, path: Path) -> Iterator[_Needed]:
    yield key, path, FILE
    if path.suffix == ".json" and path.is_file():
        try:
            named = json.loads(path.read_bytes())["file"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # what is wrong with a manifest is said when it is opened
        if isinstance(named, str):
            yield key, path.with_name(named), FILE


def _secrets(key: str, broker: BrokerConfig) -> Iterator[_Needed]:
    tls = broker.tls
    named = {"password_file": broker.password_file}
    if tls is not None:
        named |= {f"tls.{name}": getattr(tls, name) for name in ("ca_file", "cert_file", "key_file")}
    for name, path in named.items():
        if path is not None:
            yield f"{key}.{name}", path, FILE


def _obstacle(path: Path, kind: str) -> str:
    try:
        if kind == FOLDER:
            next(path.iterdir(), None)
        else:
            with path.open("rb"):
                pass
    except OSError as error:
        return f"cannot read {path} as a {kind} ({error.strerror})"
    return ""
