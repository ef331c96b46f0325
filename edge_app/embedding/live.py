"""The recogniser in use, which may be exchanged between two frames.

A new engine is opened beside the old one, in a thread of its own, and first gives the golden embeddings.
Then it looks at live faces in the old one's shadow: both embed them, the old one's answer is used, and
the two must agree. Only then are they exchanged, between frames; and for a while after that the old one
watches the new one in turn, and takes over again if the two fall apart. An engine that fails or
disagrees is noted as bad, with the reason, and is not tried again.

An engine that fails at work is replaced at once by the next best, and the face is embedded again.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from edge_app.embedding.opening import Opening
    from edge_app.engines.manifest import ModelManifest
    from edge_app.engines.store import EngineStore
    from edge_app.records import Embedding

_log = structlog.get_logger(__name__)
#: Live faces that a new engine sees in the shadow, and then with the old one watching.
SHADOW_FACES: Final = 16
WATCHED_FACES: Final = 64
#: Cosine between the old and the new engine's embedding of the same face: every one, and their mean.
LEAST_COSINE: Final = 0.97
MEAN_COSINE: Final = 0.99
#: With too few faces to look at, the golden embeddings alone decide after this long.
PATIENCE_NS: Final = 600 * 1_000_000_000


@dataclass(slots=True)
class _Trial:
    """Two engines that see the same faces: the one in use, and the other."""

    other: Opening
    since_ns: int
    new_is_other: bool = True
    cosines: list[float] = field(default_factory=list)

    def verdict(self, faces: int) -> str | None:
        """Return what is wrong, an empty text when `faces` faces agreed, None while it is not known."""
        if self.cosines and min(self.cosines) < LEAST_COSINE:
            return f"it disagrees with the engine before it on a live face: cosine {min(self.cosines):.3f}"
        if len(self.cosines) < faces:
            return None
        mean = sum(self.cosines) / len(self.cosines)
        if mean < MEAN_COSINE:
            return (
                f"it disagrees with the engine before it on {len(self.cosines)} live faces: mean {mean:.4f}"
            )
        return ""


class LiveRecogniser:
    """The recogniser of a running box; one thread calls `embed` and `tick`.

    Args:
        opening: what was opened at the start.
        reopen: opens what the store says is in use, but for CPU backends of these names; any thread.
        store: the box's engines; None where there are none.
        on_change: told backend, previous backend and reason after every exchange.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        reopen: Callable[[tuple[str, ...]], Opening],
        store: EngineStore | None,
        on_change: Callable[[str, str, str], None],
    ) -> None:
        self._now = opening
        self._reopen = reopen
        self._store = store
        self._on_change = on_change
        self._trial: _Trial | None = None
        self._wanted = store.choice().active if store else None
        self._loading: threading.Thread | None = None
        self._loaded: queue.SimpleQueue[Opening | ModelError] = queue.SimpleQueue()

    @property
    def engine_id(self) -> str | None:
        """The stored engine in use; None: the CPU."""
        return self._now.engine_id

    @property
    def manifest(self) -> ModelManifest:
        """The FP32 model that every engine stands for."""
        return self._now.recogniser.manifest

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the FP32 model, under which embeddings are kept."""
        return self._now.recogniser.model_sha256

    @property
    def threshold(self) -> float:
        """The model's own acceptance threshold."""
        return self._now.recogniser.threshold

    @property
    def backend(self) -> str:
        """The backend in use, as it stands in every event."""
        return self._now.recogniser.backend

    @property
    def reason(self) -> str:
        """Why it is in use."""
        return self._now.recogniser.reason

    def embed(self, crops: npt.NDArray[np.uint8]) -> list[Embedding]:
        """Return one embedding for each crop, by the engine in use or, if it fails, by the next.

        Raises:
            ModelError: nothing can embed them.
        """
        try:
            found = self._now.recogniser.embed(crops)
        except ModelError as error:
            self._replace_failed(error)
            found = self._now.recogniser.embed(crops)
        if self._trial is not None and found:
            self._compare(self._trial, crops, found)
        return found

    def tick(self, now_ns: int) -> None:
        """Follow the operator's choice; about once a second, between frames."""
        if self._store is None:
            return
        if self._trial is not None and now_ns - self._trial.since_ns > PATIENCE_NS:
            self._end_trial(self._trial, now_ns)
        if self._loading is None:
            wanted = self._store.choice().active
            if wanted != self._wanted:
                self._wanted = wanted
                _log.info("engine_loading", engine=wanted)
                self._loading = threading.Thread(target=self._load, name="engine", daemon=True)
                self._loading.start()
        elif not self._loading.is_alive():
            self._loading = None
            self._take(self._loaded.get(), now_ns)

    def close(self) -> None:
        """Free the engines. Safe to call twice."""
        if self._loading is not None:
            self._loading.join()
            self._loading = None
            late = self._loaded.get()
            if not isinstance(late, ModelError):
                late.recogniser.close()
        self._drop_trial()
        self._now.recogniser.close()

    def _load(self) -> None:
        try:
            self._loaded.put(self._reopen(()))
        except ModelError as error:
            self._loaded.put(error)
        except Exception as error:  # noqa: BLE001 -- a runtime's own errors must not end the box
            self._loaded.put(ModelError(f"the engine cannot be opened: {error!r}"))

    def _take(self, loaded: Opening | ModelError, now_ns: int) -> None:
        if isinstance(loaded, ModelError):
            self._refuse(self._wanted, loaded.what)
            return
        for fallback in loaded.fallbacks:
            if fallback.backend == self._wanted:
                loaded.recogniser.close()
                self._refuse(self._wanted, fallback.reason)
                return
        self._drop_trial()
        self._trial = _Trial(other=loaded, since_ns=now_ns)
        if self._store is not None and self._store.choice().went_back:
            # Somebody wants the other one gone: it is no measure for this one.
            self._exchange(self._trial, now_ns, reason="went back to it")
            self._drop_trial()
        else:
            _log.info("engine_in_shadow", engine=loaded.engine_id, backend=loaded.recogniser.backend)

    def _compare(self, trial: _Trial, crops: npt.NDArray[np.uint8], found: list[Embedding]) -> None:
        try:
            others = trial.other.recogniser.embed(crops)
        except ModelError as error:
            if trial.new_is_other:
                self._refuse(trial.other.engine_id, error.what)
            self._drop_trial()
            return
        trial.cosines.extend(
            float(one.vector @ other.vector) for one, other in zip(found, others, strict=True)
        )
        verdict = trial.verdict(SHADOW_FACES if trial.new_is_other else WATCHED_FACES)
        if verdict is None:
            return
        if verdict and trial.new_is_other:
            self._refuse(trial.other.engine_id, verdict)
            self._drop_trial()
        elif verdict:
            bad = self._now.engine_id
            self._exchange(trial, trial.since_ns, reason=verdict)
            self._refuse(bad, verdict)
            self._drop_trial()
        else:
            self._end_trial(trial, trial.since_ns)

    def _end_trial(self, trial: _Trial, now_ns: int) -> None:
        """The two agreed, or nobody passed for long: put the new one in use, or let the old one go."""
        if trial.new_is_other:
            faces = len(trial.cosines)
            self._exchange(trial, now_ns, reason=f"golden embeddings and {faces} live faces agree")
        else:
            self._drop_trial()

    def _exchange(self, trial: _Trial, now_ns: int, *, reason: str) -> None:
        before, self._now = self._now, trial.other
        self._trial = _Trial(other=before, since_ns=now_ns, new_is_other=not trial.new_is_other)
        name = self._now.engine_id or self.backend
        _log.info("engine_exchanged", engine=name, reason=reason)
        self._on_change(self.backend, before.recogniser.backend, f"{name}: {reason}")

    def _replace_failed(self, error: ModelError) -> None:
        """Put the next best engine in place of the one in use, which has failed.

        Raises:
            ModelError: there is none.
        """
        failed = self._now
        if failed.engine_id is not None:
            self._refuse(failed.engine_id, error.what)
        if self._trial is not None and not self._trial.new_is_other:
            self._now, self._trial = self._trial.other, None
        else:
            try:
                self._now = self._reopen(() if failed.engine_id else (failed.recogniser.backend,))
            except ModelError:
                raise error from None
        failed.recogniser.close()
        self._on_change(self.backend, failed.recogniser.backend, f"the one before it failed: {error.what}")

    def _refuse(self, engine_id: str | None, reason: str) -> None:
        """Note an engine as bad; the choice goes back to what is in use."""
        _log.error("engine_refused", engine=engine_id, reason=reason)
        if self._store is None or engine_id is None:
            return
        try:
            self._wanted = self._store.reject(engine_id, reason).active
        except ModelError as error:
            _log.error("engine_choice_not_written", error=error.what, fix=error.fix)

    def _drop_trial(self) -> None:
        if self._trial is not None:
            self._trial.other.recogniser.close()
            self._trial = None
