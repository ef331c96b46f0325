"""The status page: what it shows is how the box is, and nobody but this machine may look."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import pytest

from edge_app.delivery.event import EnvelopeContext
from edge_app.delivery.worker import BLANK
from edge_app.health.watchdog import StageHealth
from edge_app.records import (
    CameraState,
    Frame,
    FrameFaces,
    HeadCount,
    PersonSeen,
    PresenceSnapshot,
)
from edge_app.web.server import StatusServer
from edge_app.web.status import BoxStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

_S: Final = 1_000_000_000
NOW_NS: Final = 100 * _S
GREY: Final = np.full((90, 160, 3), 90, np.uint8)


def frame(camera: str = "portal", *, at_ns: int = NOW_NS - 2 * _S) -> FrameFaces:
    """Return a frame without faces, two seconds old."""
    pixels = GREY.copy()
    return FrameFaces(frame=Frame(camera=camera, index=1, mono_ns=at_ns, pixels=pixels, dropped=0), faces=())


def person(ref: str | None) -> PersonSeen:
    """Return somebody who was seen five seconds ago."""
    seen = NOW_NS - 5 * _S
    return PersonSeen(
        person_ref=ref, track="t1", zone="drift", camera="portal", first_seen_ns=seen, last_seen_ns=seen,
        score=0.7,
    )  # fmt: skip


@pytest.fixture
def status() -> BoxStatus:
    """Return a box with one stage alive and one silent."""
    stages = [
        StageHealth(name="delivery", does="commits", started=True, silent_s=0.44, limit_s=30.0),
        StageHealth(name="capture:portal", does="reads", started=True, silent_s=12.0, limit_s=10.0),
    ]
    return BoxStatus(
        context=lambda: EnvelopeContext(site="m1", node="b1", boot="b", backend="onnxruntime-cpu"),
        stages=lambda: stages,
        delivery=lambda: BLANK,
        mono_ns=lambda: NOW_NS,
    )


@pytest.fixture
def server(status: BoxStatus) -> Iterator[StatusServer]:
    """Return its page, served at a free port."""
    server = StatusServer(status, port=0)
    server.start()
    yield server
    server.stop()


def ask(
    server: StatusServer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (names in lower case) and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port or 0, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def document(server: StatusServer) -> dict[str, Any]:
    """Return what the page asks for once a second."""
    code, headers, body = ask(server, "/status.json")
    assert (200, "application/json") == (code, headers["content-type"])
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_box_that_has_seen_nothing_yet_says_so(server: StatusServer) -> None:
    """Before the first frame and the first muster there is no count, and no picture."""
    now = document(server)
    assert ("m1", "b1", "onnxruntime-cpu") == tuple(now["about"][key] for key in ("site", "node", "backend"))
    assert (None, [], []) == (now["headcount"], now["people"], now["cameras"])
    assert 404 == ask(server, "/camera/portal.jpg")[0]


def test_stages_are_shown_with_their_silence_and_limit(server: StatusServer) -> None:
    """The one that hangs is told from the one that works."""
    stages = {
        one["name"]: (one["alive"], one["silent_s"], one["limit_s"]) for one in document(server)["stages"]
    }
    assert {"delivery": (True, 0.4, 30.0), "capture:portal": (False, 12.0, 10.0)} == stages


def test_who_is_where_is_shown_by_reference_with_ages(status: BoxStatus, server: StatusServer) -> None:
    """Two known people, one of whom has perhaps left, an unknown one, the bounds, a blind camera."""
    blind = CameraState(camera="portal", zone="drift", blind_since_ns=NOW_NS - _S, reason="covered")
    status.muster(
        PresenceSnapshot(
            mono_ns=NOW_NS,
            people=(person("C-1"), replace(person("C-2"), perhaps_left_ns=NOW_NS)),
            unknown=(person(None),),
            cameras=(blind,),
            count=HeadCount(best=2, low=1, high=3),
        )
    )
    status.saw(frame(), {})
    now = document(server)
    assert {"best": 2, "low": 1, "high": 3} == now["headcount"]
    assert [("C-1", 5.0, False), ("C-2", 5.0, True)] == [
        (one["person_ref"], one["seen_s_ago"], one["perhaps_left"]) for one in now["people"]
    ]
    assert [None] == [one["person_ref"] for one in now["unknown"]]
    (camera,) = now["cameras"]
    assert (False, "covered", 2.0) == (camera["sees"], camera["reason"], camera["picture_age_s"])


def test_the_last_picture_of_a_camera_is_a_jpeg_of_its_size(status: BoxStatus, server: StatusServer) -> None:
    """Also of a camera whose name would be escaped in an address."""
    status.saw(frame("portal"), {})
    code, headers, body = ask(server, "/camera/portal.jpg?17")
    assert (200, "image/jpeg") == (code, headers["content-type"])
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert GREY.shape == picture.shape
    assert 200 == ask(server, "/camera/%70ortal.jpg")[0]


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/page.js", "text/javascript")])
def test_the_page_comes_from_the_box_alone(server: StatusServer, path: str, kind: str) -> None:
    """In a tunnel there is no other host to load anything from, and a browser may not try."""
    code, headers, body = ask(server, path)
    assert 200 == code
    assert headers["content-type"].startswith(kind)
    assert b"//cdn" not in body
    assert b"https:" not in body
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert "no-store" == headers["cache-control"]


@pytest.mark.parametrize("host", ["mine.example", "evil.example:80", "", "127.0.0.1.evil.example", "[::1]"])
def test_another_host_s_name_is_refused(server: StatusServer, host: str) -> None:
    """A page on the internet whose name was made to point at the engineer's machine sees no miner."""
    assert 403 == ask(server, "/status.json", host=host)[0]


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9999"])
def test_a_tunnel_from_the_engineer_s_machine_is_served(server: StatusServer, host: str) -> None:
    """Whatever port of theirs `ssh -L` uses."""
    assert 200 == ask(server, "/status.json", host=host)[0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(server: StatusServer, method: str) -> None:
    """To look, and not to touch."""
    assert 501 == ask(server, "/status.json", method=method)[0]


@pytest.mark.parametrize(
    "path", ["/..", "/../box.yaml", "/%2e%2e/box.yaml", "/camera/../people.db.jpg", "/status.py", "/x"]
)
def test_nothing_else_can_be_read(server: StatusServer, path: str) -> None:
    """No path leads to a file but the page's own two."""
    assert 404 == ask(server, path)[0]


def test_head_has_no_body(server: StatusServer) -> None:
    """As HTTP wants it."""
    code, headers, body = ask(server, "/", method="HEAD")
    assert (200, b"") == (code, body)
    assert int(headers["content-length"]) > 0


def test_it_listens_on_this_machine_alone(server: StatusServer) -> None:
    """Another address of the same machine is refused: faces do not leave the box."""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", server.port or 0), timeout=5).close()


def test_a_port_that_is_taken_stops_nothing(
    status: BoxStatus, server: StatusServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The box recognises people all the same; the log says what to do."""
    second = StatusServer(status, port=server.port or 0)
    second.start()
    assert second.port is None
    second.stop()
    said = capsys.readouterr().out
    assert "status_page_not_shown" in said
    assert "free port" in said
