"""When nobody could be seen."""

from __future__ import annotations

from edge_app.presence.watch import Dark, Watch
from edge_app.records import CameraState

WATCHED = {"cam1": frozenset({"drift", "shaft"}), "cam2": frozenset({"drift"})}


def blind(camera: str, since: int) -> CameraState:
    """Return the state of a blind camera."""
    return CameraState(camera, "drift", blind_since_ns=since, reason="dark")


def test_zone_is_dark_while_any_of_its_cameras_is_blind() -> None:
    """Since the last good picture; two cameras at once are dark once."""
    watch = Watch(watched=WATCHED)
    watch.look(20, [blind("cam1", 10), CameraState("cam2", "drift")])
    watch.look(22, [blind("cam1", 10), blind("cam2", 18)])
    watch.look(30, [CameraState("cam1", "drift"), blind("cam2", 18)])
    watch.look(99, [CameraState("cam1", "drift"), CameraState("cam2", "drift")])
    assert (20, 12, 0) == tuple(watch.dark_ns(zone, 0) for zone in ("drift", "shaft", "elsewhere"))
    assert (5, 0) == (watch.dark_ns("drift", 25), watch.dark_ns("drift", 30))


def test_box_that_did_not_run_saw_nobody_anywhere() -> None:
    """Beside what was dark before it; a zone that is in no configuration any more is forgotten."""
    kept = (Dark("shaft", 0, 4), Dark("gone", 0, 4), Dark(None, 10, 20))
    watch = Watch(watched=WATCHED, kept=kept)
    assert (14, 10, 10) == tuple(watch.dark_ns(zone, 0) for zone in ("shaft", "drift", None))
    assert {kept[0], kept[2]} == set(watch.kept())


def test_what_is_remembered_is_bounded_and_never_less_dark() -> None:
    """A camera that flickers for months: the oldest times run into each other."""
    watch = Watch(watched=WATCHED)
    for at in range(0, 10_000, 10):
        watch.look(at + 5, [blind("cam2", at)])
    assert 64 == len(watch.kept())
    assert (5, 10) == (watch.dark_ns("drift", 9_990), watch.dark_ns("drift", 9_980))
    assert 5_000 <= watch.dark_ns("drift", 0)
