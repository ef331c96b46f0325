"""Which keys of the configuration a running box can take over, and which wait for its next start.

Live are the judgements about faces and people: they are looked at anew for every frame. Whatever opens
something (a camera, a model, a broker, a file) waits for a restart, where a mistake shows at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_app.config import Config

#: Keys, or whole sections with a dot at their end.
LIVE: Final = ("recogniser.threshold", "quality.", "decide.")


def is_live(key: str) -> bool:
    """Return whether a running box can take over this key."""
    return any(key == live or (live.endswith(".") and key.startswith(live)) for live in LIVE)


def changed_keys(before: Config, after: Config) -> list[str]:
    """Return the dotted keys whose values differ, sorted; a list is one value, but for what is in it."""
    old, new = (dict(_flat("", config.model_dump(mode="json"))) for config in (before, after))
    absent = object()
    return sorted(key for key in old.keys() | new.keys() if old.get(key, absent) != new.get(key, absent))


def with_live_keys(before: Config, after: Config) -> Config:
    """Return `before` with the live keys of `after`."""
    recogniser = before.recogniser.model_copy(update={"threshold": after.recogniser.threshold})
    taken = {"recogniser": recogniser, "quality": after.quality, "decide": after.decide}
    return before.model_copy(update=taken)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        inner: Mapping[str, Any] = value
        for name, below in inner.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, below)
    else:
        yield prefix, value
