"""From a camera to an event on a real broker, with real faces."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import cv2
import jsonschema
import pytest

from benchmarks.daemon import frames_of_photos
from edge_app.delivery.event import schema
from tests.daemon.rig import Listener

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.rig import Mosquitto
    from tests.daemon.rig import BoxRig

pytestmark = pytest.mark.mosquitto
REAL_CLIP = "head-pose-face-detection-female-and-male.gif"


def public_clip(folder: Path) -> Path:
    """Write a clip of two people from public photos, for machines without the research data."""
    clip = folder / "two.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (640, 360))
    for frame in frames_of_photos():
        writer.write(frame)
    writer.release()
    return clip


def halves(clip: Path, frame: int, folder: Path) -> list[Path]:
    """Write the left and the right half of one frame of a video; return the files."""
    video = cv2.VideoCapture(str(clip))
    for _ in range(frame + 1):
        read, picture = video.read()
        assert read
    middle = picture.shape[1] // 2
    files = [folder / f"{side}{frame}.png" for side in ("left", "right")]
    for file, half in zip(files, (picture[:, :middle], picture[:, middle:]), strict=True):
        cv2.imwrite(str(file), half)
    return files


def named(listener: Listener) -> set[str]:
    """Return everybody who was named."""
    return {event["person_ref"] for event in listener.of("sighting") if event["decision"] == "named"}


def test_a_registered_person_is_named_and_every_event_fits_the_schema(
    rig: BoxRig, listener: Listener, clip: Path, demo_photos: Mapping[str, Path]
) -> None:
    """Registered on two photos, seen on a third: the event names the reference only."""
    rig.register("CARD-1", [demo_photos["obama"], demo_photos["obama3"]])
    rig.watch(clip, fps=10)
    assert rig.start().wait(60) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert named(listener) == {"CARD-1"}
    for event in listener.events():
        jsonschema.validate(event, dict(schema()))
    assert "Name of" not in str(listener.arrivals)
    assert "Name of" not in rig.log()


def test_a_stranger_is_called_unknown(
    rig: BoxRig, listener: Listener, clip: Path, demo_photos: Mapping[str, Path]
) -> None:
    """Somebody else is registered: the person is unknown, and each of their tracks is counted."""
    rig.register("CARD-2", [demo_photos["biden"]])
    rig.watch(clip, fps=10)
    assert rig.start().wait(60) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert {"unknown"} == {event["decision"] for event in listener.of("sighting")}
    entered = listener.of("presence")
    tracks = [event["track"] for event in entered]
    assert tracks == list(dict.fromkeys(tracks))
    expected = [("entered", None, number) for number in range(1, len(tracks) + 1)]
    assert expected == [(e["change"], e.get("person_ref"), e["headcount"]) for e in entered] != []


def test_two_people_in_one_clip_are_named_and_nobody_else(
    rig: BoxRig, listener: Listener, data_dir: Path | None, tmp_path: Path
) -> None:
    """Both were registered from other frames of it; no third person appears. Real where data is."""
    clip = public_clip(tmp_path) if data_dir is None else data_dir / "clips" / REAL_CLIP
    for frame in (0, 27):
        for ref, half in zip(("LEFT", "RIGHT"), halves(clip, frame, tmp_path), strict=True):
            rig.register(ref, [half])
    rig.watch(clip, pace="every_frame")
    assert rig.start().wait(120) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert named(listener) == {"LEFT", "RIGHT"}
    muster = listener.last("/muster").event
    assert {"LEFT", "RIGHT"} == {person["person_ref"] for person in muster["people"]}
    assert [] == muster["unknown"]


def test_sigterm_commits_and_says_goodbye(rig: BoxRig, listener: Listener, clip: Path) -> None:
    """The last event says why it stopped, and the retained state says that it is gone on purpose."""
    rig.watch(clip, fps=10, loop=True)
    daemon = rig.start()
    listener.wait_for(lambda: listener.of("sighting"))
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(20) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert listener.of("box_stop")[0]["reason"] == "SIGTERM"
    listener.wait_for(lambda: not listener.states()[-1]["online"])
    assert listener.states()[-1]["reason"] == "stopped"


def test_kill_is_told_by_the_last_will_and_by_the_next_start(
    rig: BoxRig, listener: Listener, clip: Path
) -> None:
    """Nothing can be said at a power cut: the broker says it, and the box when it is back."""
    rig.watch(clip, fps=10, loop=True)
    daemon = rig.start()
    listener.wait_for(lambda: listener.of("sighting"))
    daemon.kill()
    listener.wait_for(lambda: not listener.states()[-1]["online"], timeout=40)
    assert listener.states()[-1]["reason"] == "lost"
    rig.watch(clip, fps=10)
    assert rig.start().wait(60) == 0, rig.log()
    listener.wait_for(lambda: listener.of("box_stop"))
    assert [True, False] == [event["clean"] for event in listener.of("box_start")]
    assert len({event["seq"] for event in listener.events()}) == len({e["id"] for e in listener.events()})


def test_events_of_an_outage_come_when_the_broker_does(
    rig: BoxRig, broker: Mosquitto, clip: Path, demo_photos: Mapping[str, Path]
) -> None:
    """No broker at the start is no error; what was seen meanwhile is delivered in full, in order."""
    rig.register("CARD-1", [demo_photos["obama"], demo_photos["obama3"]])
    broker.stop()
    rig.watch(clip, fps=10)
    assert rig.start().wait(60) == 0, rig.log()
    broker.start()
    subscriber = Listener(broker.port)
    drained = rig.cli("outbox", "drain")
    assert drained.returncode == 0, drained.stderr
    subscriber.wait_for(lambda: subscriber.of("box_stop"))
    subscriber.close()
    assert named(subscriber) == {"CARD-1"}
    assert list(range(1, len(subscriber.events()) + 1)) == sorted(e["seq"] for e in subscriber.events())
