"""A matcher that follows the register while the box runs.

Somebody registers or removes a person while the daemon watches: the next second counts. The file is
looked at at most once in `every_s`; it is read again only if it changed. If it cannot be read (it is
being restored, the disk fails, a new model is not embedded yet), the people known so far stay known
and `problem` and the log say why: a box must not forget everybody because of one bad moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import structlog

from edge_app.errors import GalleryError
from edge_app.identity import calibration, store
from edge_app.identity.alike import look_alikes
from edge_app.identity.match import Matcher, templates_of
from edge_app.identity.snapshot import GallerySnapshot

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.identity.calibration import Calibration
    from edge_app.identity.gallery import Gallery

_log = structlog.get_logger(__name__)


class LiveMatcher:
    """The `matcher_provider` of the identity stage; one thread uses it.

    Args:
        gallery: the register; its file may come later (then nobody is registered, version 0).
        model_sha256: the recogniser's model.
        preprocess_sha256: the preprocessing's hash.
        threshold: similarity from which a person may be named.
        clock: for the interval.
        every_s: how often the file is looked at.
        calibration_path: the file with people's own thresholds; they count instead of `threshold` if they
            were made with this model.

    Raises:
        GalleryError: the register is there and cannot be used: said at the start, not found out later.
    """

    def __init__(
        self,
        *,
        gallery: Gallery,
        model_sha256: str,
        preprocess_sha256: str,
        threshold: float,
        clock: Clock,
        every_s: float = 1.0,
        calibration_path: Path | None = None,
    ) -> None:
        self._gallery = gallery
        self._calibration = calibration_path
        self._key = (model_sha256, preprocess_sha256)
        self._threshold = threshold
        self._clock = clock
        self._every_ns = int(every_s * 1e9)
        #: Why the register could not be read again; None while all is well.
        self.problem: GalleryError | None = None
        self._seen: tuple[object, ...] | None = None
        self._calibrated_as: Calibration | None = None
        if gallery.path.exists():
            self._matcher = self._load()
        else:
            self._matcher = self._matcher_of(
                GallerySnapshot.empty(model_sha256=model_sha256, preprocess_sha256=preprocess_sha256)
            )
        self._looked_ns = clock.mono_ns()

    def __call__(self) -> Matcher:
        """Return the matcher of the register as it is now, at most `every_s` late."""
        now = self._clock.mono_ns()
        if now - self._looked_ns >= self._every_ns:
            self._looked_ns = now
            self.reload_if_changed()
        return self._matcher

    def expects(self, counted: Collection[str]) -> None:
        """Say at the start that a register is missing: the ledger (`counted`) or a calibration has people."""
        named = {*counted, *(() if self._calibrated_as is None else self._calibrated_as.people)}
        if self._seen is not None or not named or store.signature(self._gallery.path) is not None:
            return
        self.problem = GalleryError(
            f"{self._gallery.path} is not there: nobody can be recognised, and the presence ledger or the"
            f" calibration names {len(named)} people",
            fix="put the file back from a copy, or register people again",
        )
        _log.warning("register_missing", error=self.problem.what, fix=self.problem.fix)

    def use_threshold(self, threshold: float) -> None:
        """Name people from another similarity on, instead of any calibration; the register stays as it is."""
        self._threshold, self._calibration = threshold, None
        self._matcher = self._matcher_of(self._matcher.snapshot)

    def reload_if_changed(self) -> bool:
        """Look at the file now; returns whether it was read again. Never raises: see `problem`."""
        try:
            if not self._changed():
                return False
            self._matcher = self._load()
        except GalleryError as error:
            if self.problem is None or self.problem.what != error.what:
                _log.error("register_cannot_be_read", error=error.what, fix=error.fix)
            self.problem = error
            return False
        self._well_again()
        return True

    def _changed(self) -> bool:
        if store.signature(self._gallery.path) is None:
            if self._seen is None:  # there never was one
                return False
            raise GalleryError(
                f"{self._gallery.path} has gone; {len(self._matcher.refs)} people known so far stay known",
                fix="put the file back, or restart to start without it",
            )
        # The version as well: two changes within one tick of the file system's clock look alike outside.
        now = (store.signature(self._gallery.path), *self._gallery.state(), self._calibrated())
        changed = self._seen != now
        if not changed:
            self._well_again()
        return changed

    def _well_again(self) -> None:
        if self.problem is not None:
            _log.info("register_read_again")
        self.problem = None

    def _load(self) -> Matcher:
        before, calibrated = store.signature(self._gallery.path), self._calibrated()
        snapshot = self._gallery.snapshot(model_sha256=self._key[0], preprocess_sha256=self._key[1])
        self._seen = (before, snapshot.gallery_id, snapshot.version, calibrated)
        return self._matcher_of(snapshot)

    def _calibrated(self) -> object:
        return None if self._calibration is None else store.signature(self._calibration)

    def _matcher_of(self, snapshot: GallerySnapshot) -> Matcher:
        found = self._found_calibration()
        threshold = self._threshold if found is None else found.threshold
        own = {} if found is None else found.people
        bars = np.array([own.get(ref, threshold) for ref in snapshot.refs], np.float32)
        pairs = look_alikes(snapshot.refs, templates_of(snapshot), bars) if snapshot.refs else ()
        if pairs:
            _log.warning(
                "look_alikes_in_the_register", pairs=len(pairs), most=[list(one) for one in pairs[:3]]
            )
        return Matcher(
            snapshot=snapshot,
            threshold=threshold,
            bars=own,
            strict={ref for one, other, _ in pairs for ref in (one, other)},
        )

    def _found_calibration(self) -> Calibration | None:
        """Return the calibration that counts, None where there is none; logs when that changes."""
        found = None if self._calibration is None else calibration.load(self._calibration)
        if found is not None and (found.model_sha256, found.preprocess_sha256) != self._key:
            _log.warning("calibration_of_another_model", fix="run `dsr-edge people calibrate`")
            found = None
        before, self._calibrated_as = self._calibrated_as, found
        if found is not None and found != before:
            _log.info(
                "calibration_taken", threshold=found.threshold, people=len(found.people), far=found.far,
                cohort=found.cohort,
            )  # fmt: skip
        elif found is None and before is not None:
            _log.warning("calibration_gone", threshold=round(self._threshold, 4), before=before.threshold)
        return found
