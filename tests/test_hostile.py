"""Hostile messages on every topic that a box or the surface subscribes to: nothing ends, all is counted.

What comes is made by hypothesis: bytes, far too much, nesting without end, other encodings, the right names
with the wrong types, and true messages with a few bytes changed. Each room takes its messages through
the same door as in operation; each must refuse in its own words, count, log rarely, and go on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_app.clock import SystemClock
from edge_app.commands.counters import Counters
from edge_app.commands.desk import CommandDesk
from edge_app.commands.keys import make_key, read_private, read_public
from edge_app.commands.signed import sign_command
from edge_app.delivery.cards import CardIntake
from edge_app.delivery.event import KINDS
from edge_app.delivery.link import Message
from edge_app.delivery.options import BrokerOptions
from edge_app.delivery.receipts import ReceiptRefused, check_receipt, make_receipt
from edge_app.sparkplug.codec import DataType, Metric, encode
from edge_app.sparkplug.connection import Arrived as OnSparkplug
from edge_app.sparkplug.host import PrimaryHost
from edge_app.sparkplug.options import SparkplugOptions
from edge_app.sparkplug.plane import SparkplugPlane
from surface.consumer import Consumer
from surface.link import ConsumerSettings, Incoming
from surface.muster import mine_muster
from surface.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY: Final = b"\x01" * 32
BASE: Final = "mine/north/v1/box-07"
EVENT: Final = json.dumps(dict(KINDS["sighting"].example)).encode()
GAP: Final = json.dumps(dict(KINDS["gap"].example)).encode()
RECEIPT: Final = make_receipt(
    key=KEY, site="north", node="box-07", consumer="s", ids=[KINDS["test"].example["id"]]
)
CARDS: Final = b'{"v": 1, "readings": [{"card": "1", "zone": "z", "age_ms": 1}]}'
MUSTER: Final = json.dumps(
    {
        **{
            k: KINDS["muster"].example[k]
            for k in ("v", "site", "node", "boot", "mono_ns", "wall_ms", "wall_quality")
        },
        "people": [{"person_ref": "a", "zone": "z", "camera": "c", "age_ms": 5}],
        "cameras": [{"camera": "c", "sees": False}],
    }
).encode()
STATE: Final = b'{"v": 1, "site": "north", "node": "box-07", "online": true}'
REBIRTH: Final = encode(
    (Metric(DataType.BOOLEAN, True, 1, name="Node Control/Rebirth"),), timestamp_ms=1, seq=None
)
TRUE_ONES: Final = (EVENT, GAP, RECEIPT, CARDS, MUSTER, STATE, REBIRTH, b'{"online": true, "timestamp": 5}')

NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 1.0, 1 << 63, -(1 << 63), 1 << 64, 10**400, 1e308, True]),
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", "\ud800", "\x00", "a/b", "+", "#", "$share/x", "-", "x" * 5000, "../.."]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
NAMES: Final = sorted(
    {name for true in TRUE_ONES[:6] for name in json.loads(true)} | {"args", "sig", "counter", "key"}
)


def wrong_types(true: bytes) -> st.SearchStrategy[bytes]:
    """Return true messages with some of their fields exchanged for anything, or left out, or put in."""
    body = json.loads(true)

    def change(fields: dict[str, Any]) -> bytes:
        return json.dumps({**body, **fields}).encode("utf-8", "surrogatepass")

    return st.dictionaries(st.sampled_from([*body, *NAMES]), VALUES, max_size=3).map(change)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a true message with a piece of it exchanged, left out or doubled."""
    true = draw(st.sampled_from(TRUE_ONES))
    at = draw(st.integers(0, len(true)))
    return true[:at] + draw(st.binary(max_size=6)) + true[at + draw(st.integers(0, 6)) :]


PAYLOADS = st.one_of(
    st.binary(max_size=300),
    damaged(),
    *(wrong_types(true) for true in TRUE_ONES[:6]),
    VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"",
            b"x" * 600_000,
            b"[" * 60_000,
            b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
            b"[" * 900 + b"]" * 900,
            EVENT.decode().encode("utf-16"),
            EVENT.decode().encode("utf-32-le"),
            b"\xef\xbb\xbf" + EVENT,
            EVENT.replace(b"box-07", "bö".encode("latin-1")),
            b"9" * 5000,
            b'{"seq": ' + b"9" * 5000 + b"}",
            b"NaN",
            b"\x00" * 1000,
            *TRUE_ONES,
        ]
    ),
)
FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return every room that takes messages, once for all: what one message leaves must not hurt the next."""
    folder = tmp_path_factory.mktemp("hostile")
    make_key(folder / "key.pem")
    events: list[Any] = []
    options = SparkplugOptions(
        group_id="g",
        node="box-07",
        cameras=(("cam1", "z"),),
        brokers=(BrokerOptions(host="127.0.0.1", port=1),),
        bdseq=folder / "bdseq",
    )
    store = open_store(str(folder / "surface.db"))
    told = ConsumerSettings(host="127.0.0.1", port=1, consumer="s", site="+", keys={"*": KEY}, share="a")
    yield {
        "folder": folder,
        "events": events,
        "desk": CommandDesk(
            site="north",
            node="box-07",
            keys=[read_public(folder / "key.pub", name="room")],
            counters=Counters(folder / "commands.json"),
            verbs={"muster": lambda _args: {}},
            clock=SystemClock(),
            answer=lambda *_: None,
            submit=events.append,
        ),
        "plane": SparkplugPlane(options=options, clock=SystemClock(), software="x"),
        "cards": CardIntake(clock=SystemClock(), on_cards=lambda readings: events.extend(readings)),  # noqa: PLW0108
        "store": store,
        "consumer": Consumer(settings=told, store=store),
    }
    store.close()


@FUZZ
@given(PAYLOADS)
def test_receipts(payload: bytes) -> None:
    """A receipt, or refused."""
    try:
        consumer, _ids = check_receipt(payload, site="north", node="box-07", keys={"s": KEY})
    except ReceiptRefused:
        pass
    else:
        assert "s" == consumer


@FUZZ
@given(PAYLOADS)
def test_cards(rooms: dict[str, Any], payload: bytes) -> None:
    """Readings, or one refusal."""
    before = rooms["cards"].refused
    rooms["cards"].arrived(payload)
    assert rooms["cards"].refused - before in (0, 1)


@FUZZ
@given(PAYLOADS, st.one_of(st.none(), TEXTS), st.one_of(st.none(), st.binary(max_size=20)))
def test_commands(rooms: dict[str, Any], payload: bytes, wish: str | None, correlation: bytes | None) -> None:
    """Nobody has signed these: each is one refusal, and none is answered or obeyed."""
    desk = rooms["desk"]
    before = desk.status.refusals
    desk.arrived(Message(1, f"{BASE}/cmd/muster", payload, wish, correlation))
    desk._one_turn()
    assert (before + 1, 0) == (desk.status.refusals, desk.status.done)


@FUZZ
@given(PAYLOADS, st.sampled_from(["NCMD/box-07", "DCMD/box-07/cam1", "DCMD/box-07/x", "NCMD/other", "x"]))
def test_sparkplug_writes(rooms: dict[str, Any], payload: bytes, topic: str) -> None:
    """A rebirth that was asked for, or one refusal."""
    plane = rooms["plane"]
    before = plane.status.refused
    connection = type("Held", (), {"arrived": [OnSparkplug(f"spBv1.0/g/{topic}", payload)]})()
    plane._listen(connection, None)
    assert plane.status.refused - before in (0, 1)
    assert 0 == plane.status.faults


@FUZZ
@given(PAYLOADS)
def test_sparkplug_states(payload: bytes) -> None:
    """A word of the host, or nothing."""
    host = PrimaryHost("scada")
    assert host.heard(payload) in (True, False)


@FUZZ
@given(
    PAYLOADS,
    st.one_of(
        st.sampled_from(["evt/sighting", "evt/gap", "evt/muster", "state", "muster", "evt", "x/y/z", ""]),
        TEXTS,
    ),
    st.sampled_from([BASE, "mine/north/v1/box-08", "mine//v1/", "x", "dsr-surface/s"]),
)
def test_what_the_surface_takes(rooms: dict[str, Any], payload: bytes, end: str, base: str) -> None:
    """An event that is stored, a state, or one refusal; the muster can be asked for at any time."""
    consumer: Consumer = rooms["consumer"]
    store: Store = rooms["store"]
    before = consumer.refused
    consumer._take([Incoming(f"{base}/{end}", payload, 0, 1, 1, None)])
    assert consumer.refused - before in (0, 1)
    json.dumps([str(one) for one in mine_muster(store, now_ms=1).people])


def test_a_true_message_counts_after_all_that(rooms: dict[str, Any]) -> None:
    """In every room: obeyed, stored, taken, reborn."""
    desk, consumer, store = rooms["desk"], rooms["consumer"], rooms["store"]
    key_id, private = read_private(rooms["folder"] / "key.pem")
    now_ms = SystemClock().wall().ms or 0
    command = sign_command(
        private=private,
        key_id=key_id,
        site="north",
        node="box-07",
        verb="muster",
        args={},
        counter=1,
        expires_ms=now_ms + 60_000,
    )
    desk.arrived(Message(1, f"{BASE}/cmd/muster", command, None, None))
    desk._one_turn()
    assert desk.status.done + desk.status.refused.get("no_clock", 0) == 1
    true = EVENT.replace(json.loads(EVENT)["id"].encode(), b"0197c1e4-ffff-7c3a-8f21-5b1de0a4ffff")
    consumer._take([Incoming(f"{BASE}/evt/sighting", true, 0, 1, 1, None)])
    assert true in [bytes(body) for (body,) in store.rows("SELECT body FROM event")]
    plane = rooms["plane"]
    plane._listen(type("Held", (), {"arrived": [OnSparkplug("spBv1.0/g/NCMD/box-07", REBIRTH)]})(), None)
    assert None in plane._again


@pytest.mark.parametrize("room", ["cards", "consumer", "plane"])
def test_a_flood_is_counted_whole_and_logged_rarely(rooms: dict[str, Any], room: str) -> None:
    """A thousand messages are ten lines or so."""

    def send() -> None:
        if room == "cards":
            rooms[room].arrived(b"\xff")
        elif room == "consumer":
            rooms[room]._take([Incoming(f"{BASE}/evt/test", b"\xff", 0, 1, 1, None)])
        else:
            rooms[room]._listen(
                type("Held", (), {"arrived": [OnSparkplug("spBv1.0/g/NCMD/box-07", b"\xff")]})(), None
            )

    counted = rooms[room].status if room == "plane" else rooms[room]
    before = counted.refused
    with structlog.testing.capture_logs() as lines:
        for _ in range(1000):
            send()
    assert before + 1000 == counted.refused
    assert len(lines) <= 11


@pytest.mark.parametrize("name", ["+", "#", "a/b", "$SYS", "", "a b", "ä", "\x00", "x" * 33, "a\n", "-/../-"])
def test_names_that_mqtt_forbids_or_that_change_a_topic_never_reach_one(
    name: str, build: Callable[..., Any]
) -> None:
    """Of a mine, a box, a camera, a zone, a person: refused where they come in."""
    build(name)


@pytest.fixture
def build(tmp_path: Path) -> Callable[[str], None]:
    """Return what tries a name in every place from which topics and events are made."""
    from pydantic import ValidationError

    from edge_app.config.schema import Config
    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.topics import Topics
    from edge_app.errors import DsrError
    from edge_app.identity.gallery import Gallery

    good: dict[str, Any] = {
        "box": {"site": "m", "node": "b"},
        "cameras": [{"name": "c", "zone": "z", "source": {"kind": "folder", "path": "x"}}],
        "delivery": {"brokers": [{"host": "h"}]},
    }

    def attempt(name: str) -> None:
        for section, change in (
            ("box", {"site": name, "node": "b"}),
            ("box", {"site": "m", "node": name}),
            ("cameras", [{**good["cameras"][0], "name": name}]),
            ("cameras", [{**good["cameras"][0], "zone": name}]),
        ):
            with pytest.raises(ValidationError):
                Config.model_validate({**good, section: change})
        for bad in ((name, "b"), ("m", name)):
            with pytest.raises(ValueError, match="topic"):
                Topics(*bad)
            with pytest.raises(ValueError, match="topic"):
                EnvelopeContext(*bad, boot="x")
        topics = Topics("m", "b")
        for make in (topics.event, topics.alarm):
            if make is topics.event or name != "x" * 33:  # an alarm's id may be longer
                with pytest.raises(ValueError, match="topic"):
                    make(name)
        with pytest.raises(DsrError, match="not a reference"):
            Gallery.check_person(name, "Somebody", ())

    return attempt
