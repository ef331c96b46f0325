"""Passwords, keys and faces are readable by the daemon and by nobody else."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from edge_app.health.doctor import fail, ok

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_app.config import Config
    from edge_app.health.doctor import Finding

NAME: Final = "secrets"
_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def check_secrets(config_path: Path, config: Config) -> Iterator[Finding]:
    """Look at the mode of every file that holds a secret or a face."""
    files = dict(_secret_files(config))
    bad = 0
    for what, path in files.items():
        if (mode := _mode(path)) is not None and mode & _FOR_OTHERS:
            bad += 1
            yield fail(
                NAME, f"{what} {path} has mode {mode:04o}: others can read it", fix=f"chmod 600 {path}"
            )
    mode = _mode(config_path)
    if mode is not None and mode & stat.S_IRWXO and _holds_password(config):
        bad += 1
        yield fail(
            NAME,
            f"{config_path} holds a camera's password and has mode {mode:04o}: everybody can read it",
            fix=f"chmod o= {config_path}",
        )
    if not bad:
        there = sum(_mode(path) is not None for path in files.values())
        yield ok(NAME, f"{there} files with secrets or faces, readable by their owner only")


def _secret_files(config: Config) -> Iterator[tuple[str, Path]]:
    yield "gallery.path", config.gallery.path
    yield "delivery.outbox", config.delivery.outbox
    if config.gallery.bundle_key is not None:
        yield "gallery.bundle_key", config.gallery.bundle_key
    for i, broker in enumerate(config.delivery.brokers):
        if broker.password_file is not None:
            yield f"delivery.brokers[{i}].password_file", broker.password_file
        if broker.tls is not None and broker.tls.key_file is not None:
            yield f"delivery.brokers[{i}].tls.key_file", broker.tls.key_file
    for i, consumer in enumerate(config.delivery.consumers):
        yield f"delivery.consumers[{i}].key_file", consumer.key_file


def _holds_password(config: Config) -> bool:
    return any("@" in camera.source.url for camera in config.cameras if camera.source.kind == "rtsp")


def _mode(path: Path) -> int | None:
    """Return the permission bits, None where there is no such file."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
