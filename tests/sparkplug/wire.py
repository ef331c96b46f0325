"""A tap between a node and its broker: every packet that the node sends, as MQTT 5 says to read it.

What a subscriber sees is what the broker made of it; the certificates in CONNECT, the order of
packets and the reason of a DISCONNECT show on the wire alone.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field

HOST = "127.0.0.1"
CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 3, 8, 14


@dataclass
class Packet:
    """One packet of the node: `kind` is MQTT's number, the rest where it has such a thing."""

    kind: int
    connection: int
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    clean_start: bool = False
    session_expiry: int = 0
    has_will: bool = False
    reason: int = 0
    filters: list[tuple[str, int]] = field(default_factory=list)


class Reader:
    """Reads MQTT's fields one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def byte(self) -> int:
        """Return the next byte."""
        self.at += 1
        return self.data[self.at - 1]

    def number(self, width: int) -> int:
        """Return the next big-endian number."""
        self.at += width
        return int.from_bytes(self.data[self.at - width : self.at], "big")

    def varint(self) -> int:
        """Return the next variable length number."""
        value, shift = 0, 0
        while True:
            piece = self.byte()
            value |= (piece & 0x7F) << shift
            shift += 7
            if not piece & 0x80:
                return value

    def binary(self) -> bytes:
        """Return the next piece with a length before it."""
        size = self.number(2)
        self.at += size
        return self.data[self.at - size : self.at]

    def properties(self) -> bytes:
        """Return the block of properties."""
        size = self.varint()
        self.at += size
        return self.data[self.at - size : self.at]


def read_packet(kind: int, flags: int, body: bytes, connection: int) -> Packet:
    """Return what a packet says."""
    packet, reader = Packet(kind=kind, connection=connection), Reader(body)
    if kind == CONNECT:
        assert reader.binary() == b"MQTT"
        assert reader.byte() == 5
        bits = reader.byte()
        reader.number(2)
        properties = reader.properties()
        # 0x11 is the session expiry interval; the properties before it in our packets have fixed widths.
        if b"\x11" in properties:
            packet.session_expiry = int.from_bytes(properties[properties.index(b"\x11") + 1 :][:4], "big")
        reader.binary()
        packet.clean_start, packet.has_will = bool(bits & 2), bool(bits & 4)
        packet.qos, packet.retain = bits >> 3 & 3, bool(bits & 0x20)
        if packet.has_will:
            reader.properties()
            packet.topic, packet.payload = reader.binary().decode(), reader.binary()
    elif kind == PUBLISH:
        packet.qos, packet.retain = flags >> 1 & 3, bool(flags & 1)
        packet.topic = reader.binary().decode()
        if packet.qos:
            reader.number(2)
        reader.properties()
        packet.payload = body[reader.at :]
    elif kind == SUBSCRIBE:
        reader.number(2)
        reader.properties()
        while reader.at < len(body):
            packet.filters.append((reader.binary().decode(), reader.byte() & 3))
    elif kind == DISCONNECT:
        packet.reason = reader.byte() if body else 0
    return packet


class Tap:
    """A TCP proxy before the broker at `target` that keeps the packets of every connection through it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.packets: list[Packet] = []
        self.stalled = False
        self._closing = False
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server((HOST, 0))
        self.port = int(self._server.getsockname()[1])
        self._count = 0
        threading.Thread(target=self._accept, name="tap", daemon=True).start()

    def of(self, *kinds: int, connection: int | None = None) -> list[Packet]:
        """Return the packets of these kinds so far."""
        wanted = [packet for packet in list(self.packets) if packet.kind in kinds]
        return [packet for packet in wanted if connection in (None, packet.connection)]

    def cut(self) -> None:
        """Close all connections."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the tap."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closing:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection((HOST, self.target), timeout=5)
            except OSError:
                if self._closing:
                    return
                with contextlib.suppress(OSError, UnboundLocalError):
                    near.close()
                continue
            far.settimeout(None)
            self._sockets += [near, far]
            number, self._count = self._count, self._count + 1
            threading.Thread(target=self._up, args=(near, far, number), daemon=True).start()
            threading.Thread(target=self._down, args=(far, near), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket, number: int) -> None:
        pending = b""
        with contextlib.suppress(OSError):
            while piece := near.recv(65536):
                pending = self._record(pending + piece, number)
                far.sendall(piece)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def _down(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := far.recv(65536):
                near.sendall(piece)
        for one in (near, far):
            one.close()

    def _record(self, data: bytes, number: int) -> bytes:
        """Keep the whole packets at the head of `data`; return the rest."""
        while len(data) > 1:
            reader = Reader(data)
            first = reader.byte()
            try:
                size = reader.varint()
            except IndexError:
                return data
            if len(data) < reader.at + size:
                return data
            body, data = data[reader.at : reader.at + size], data[reader.at + size :]
            self.packets.append(read_packet(first >> 4, first & 15, body, number))
        return data
