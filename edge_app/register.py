"""The register of people as the running box follows it, and the alarm when it cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from edge_app.health.standing import Standing
from edge_app.records import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from edge_app.identity.live import LiveMatcher
    from edge_app.identity.match import Matcher

ALARM_ID: Final = "register_unreadable"

_log = structlog.get_logger(__name__)


class Register:
    """Follows `matcher`; one thread uses it.

    Args:
        matcher: reads the register again when it has changed.
        standing: ids of alarms that an earlier run raised and did not clear.
        counted: people whom the presence ledger names: there must have been a register.
    """

    def __init__(
        self, matcher: LiveMatcher, *, standing: Collection[str] = (), counted: Collection[str] = ()
    ) -> None:
        self._matcher = matcher
        self._alarm = Standing(ALARM_ID, stands=ALARM_ID in standing)
        matcher.expects(counted)
        self.now: Matcher = matcher()

    def tick(self, now_ns: int) -> Iterator[Event]:
        """Look at the register, about once a second; yield what is to be told."""
        before, self.now = self.now, self._matcher()
        if (said := self._alarm.check(self._matcher.problem is not None, now_ns)) is not None:
            yield said
        if self.now.version != before.version:
            yield self._changed(before, now_ns)

    def _changed(self, before: Matcher, now_ns: int) -> Event:
        now = self.now
        _log.info("gallery_changed", gallery_version=now.version, registered=len(now.refs))
        versions = {"gallery_version": now.version, "previous_version": before.version}
        return Event("gallery_changed", now_ns, data={**versions, "registered": len(now.refs)})
