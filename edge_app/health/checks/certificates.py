"""The box's own certificates and its authorities' are valid, and will be for a while.

The broker's own certificate is judged by connecting (the check ``broker``). A box whose own has expired is
refused there without a word, and one whose authority has expired believes nobody, so these are looked at
in their files.

What the clock says counts as far as the clock is to be believed. To a clock of 1970 every certificate is
not yet valid, and that says nothing about the certificate.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from edge_app.clock import WallQuality
from edge_app.delivery.validity import Validity, validities
from edge_app.errors import ConfigError
from edge_app.health.doctor import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_app.clock import Clock, WallTime
    from edge_app.config import Config
    from edge_app.health.doctor import Finding

NAME: Final = "certificates"
#: So long before its end somebody should know.
SOON: Final = timedelta(days=30)
_RENEW: Final = "make it again and put it in its place (docs/certificates.md); the next connection takes it"
_CLOCK: Final = "set the clock right first (see the check `clock`), then look again"


def check_certificates(config: Config, clock: Clock) -> Iterator[Finding]:
    """Judge every file with certificates by its dates; one that is not there is the check ``config``'s."""
    files = dict(_files(config))
    good: list[tuple[datetime, Path]] = []
    for path, (key, own) in files.items():
        try:
            span = _span(validities(path), own=own)
        except ConfigError as error:
            yield fail(NAME, f"{key}: {error.what}", fix=error.fix)
            continue
        bad = _judged(path, span, own=own, wall=clock.wall())
        if bad is None:
            good.append((span.ends, path))
        else:
            yield bad
    if good:
        ends, path = min(good)
        yield ok(NAME, f"{len(good)} files, the first to expire is {path} on {_day(ends)}")
    if not files:
        yield ok(NAME, "none is configured")


def _files(config: Config) -> Iterator[tuple[Path, tuple[str, bool]]]:
    """Yield each file that is there with its key, and whether it holds the box's own certificate."""
    planes = {"delivery.brokers": config.delivery.brokers, "sparkplug.brokers": config.sparkplug.brokers}
    for plane, brokers in planes.items():
        for i, broker in enumerate(brokers):
            for key in ("ca_file", "cert_file"):
                path = getattr(broker.tls, key, None)
                if path is not None and path.exists():
                    yield path, (f"{plane}[{i}].tls.{key}", key == "cert_file")


def _span(found: list[Validity], *, own: bool) -> Validity:
    """Return from when until when a file serves.

    Of several authorities one is enough: an old one stands beside the new one for a while. The box's own
    certificate serves with all that stand between it and the authority.
    """
    if own:
        return Validity(max(one.begins for one in found), min(one.ends for one in found))
    return max(found, key=lambda one: one.ends)


def _judged(path: Path, span: Validity, *, own: bool, wall: WallTime) -> Finding | None:
    """Return what is wrong with the dates of a file, None if nothing is."""
    what = f"the box's own certificate {path}" if own else f"the authority's certificate {path}"
    so = "the broker refuses the box" if own else "no broker is believed"
    if wall.ms is None:
        said = f"{what} is valid from {_day(span.begins)} until {_day(span.ends)}"
        return warn(NAME, f"{said}, but the clock is off: nobody here can tell whether it is now", fix=_CLOCK)
    now = datetime.fromtimestamp(wall.ms / 1000, tz=timezone.utc)
    sure = wall.quality is WallQuality.SYNC
    by = "" if sure else f" by this box's clock ({_day(now)}), which nothing keeps right"
    if now > span.ends:
        fix = _RENEW if sure else f"if the clock is right (see the check `clock`), {_RENEW}"
        return fail(NAME, f"{what} expired on {_day(span.ends)}{by}: {so}", fix=fix)
    if now < span.begins:
        said = f"{what} is not valid before {_day(span.begins)}{by}"
        if sure:
            return fail(NAME, f"{said}: {so}", fix=f"on a machine whose clock is right, {_RENEW}")
        return warn(NAME, said, fix=_CLOCK)
    if span.ends - now < SOON:
        said = f"{what} expires on {_day(span.ends)}, in {(span.ends - now).days} days{by}"
        return warn(NAME, f"{said}: then {so}", fix=_RENEW)
    return None


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")
