"""What to do when there is no connection: what the broker or TLS says is short, or nothing at all."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from edge_app.delivery.validity import expired_on

if TYPE_CHECKING:
    from surface.link import ConsumerSettings

_NOTHING: Final = "tried again for ever; the boxes keep their events"
_OF_TLS: Final = (
    (
        ("has expired", "not yet valid"),
        "renew the broker's certificate, or set this machine's clock",
    ),
    (
        ("self-signed", "self signed", "local issuer"),
        "give --ca-file the broker's authority",
    ),
    (("mismatch", "not valid for"), "use in --broker what stands in the broker's certificate"),
)


def what_to_do(reason: str, settings: ConsumerSettings, *, thrown_out: bool) -> str:
    """Return what helps against `reason`, for a log line.

    Args:
        reason: why the connection ended, or could not be made.
        settings: where the broker is, and who we are there.
        thrown_out: connections that stood were ended soon, again and again: so it looks to one of two
            consumers with one client id. mosquitto 2.0.11 closes the older without a word.
    """
    if (ended := _expired(settings)) is not None:
        return f"our certificate {ended} (docs/certificates.md); {_NOTHING}"
    for words, advice in _OF_TLS:
        if "CERTIFICATE_VERIFY_FAILED" in reason and any(word in reason for word in words):
            return f"{advice}; {_NOTHING}"
    if thrown_out:
        return f"does another run as {settings.client_id}? Stop it, or give each its own --share; {_NOTHING}"
    return _NOTHING


def _expired(settings: ConsumerSettings) -> str | None:
    """Return which certificate of ours has expired when; a broker refuses it without a word."""
    path = None if settings.tls is None else settings.tls.cert_file
    ended = expired_on(path, datetime.now(tz=timezone.utc))
    return None if ended is None else f"{path} expired on {ended:%Y-%m-%d}: make it again"
