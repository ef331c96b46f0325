"""A TCP proxy between a client and its broker that breaks the link in every way there is. Loopback only."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Final

from benchmarks.rig import HOST

#: Bytes of a PUBACK without a reason code.
_PUBACK: Final = 4


class FaultProxy:
    """A TCP proxy before the broker that can cut, stall, swallow and delay.

    `cut` closes all connections; `refuse` closes new ones at once; `stalled` forwards nothing either way
    while connections look alive (a half-open link); `swallow_down` drops what the broker sends (PUBACKs
    that never come); `delay_s` waits before each piece; `cut_after` closes after so many bytes upwards;
    `say_later` turns every so many-th plain PUBACK into "quota exceeded".
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.refuse = self.stalled = self.swallow_down = False
        self.delay_s = 0.0
        self.cut_after: int | None = None
        self.say_later = 0
        self._pubacks = self.refusals = self.cuts = 0
        self._closing = threading.Event()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server((HOST, 0))
        self.port = int(self._server.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._acceptor.start()

    def cut(self) -> None:
        """Close all connections that stand."""
        with self._lock:
            for pair in self._pairs:
                for one in pair:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the proxy."""
        self._closing.set()
        self._server.close()
        self.cut()
        self._acceptor.join(2)
        for thread in self._threads:
            thread.join(2)

    def _accept(self) -> None:
        while not self._closing.is_set():
            ready, _, _ = (
                select.select([self._server], [], [], 0.1) if self._server.fileno() >= 0 else ([], [], [])
            )
            if not ready:
                continue
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if self.refuse:
                near.close()
                continue
            thread = threading.Thread(target=self._serve, args=(near,), name="proxy-pair", daemon=True)
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection((HOST, self.target), timeout=2)
        except OSError:
            near.close()
            return
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        try:
            self._pump(near, far)
        except OSError:
            pass
        finally:
            with self._lock:
                self._pairs.discard(pair)
            near.close()
            far.close()

    def _refusing(self, piece: bytes) -> bytes:
        """Return `piece` with some PUBACKs refused, if it is nothing but PUBACKs without a reason code."""
        if (
            not self.say_later
            or len(piece) % _PUBACK
            or any(piece[at : at + 2] != b"\x40\x02" for at in range(0, len(piece), _PUBACK))
        ):
            return piece
        out = bytearray()
        for at in range(0, len(piece), _PUBACK):
            self._pubacks += 1
            one = piece[at : at + _PUBACK]
            refused = self._pubacks % self.say_later == 0
            self.refusals += refused
            out += b"\x40\x03" + one[2:] + b"\x97" if refused else one
        return bytes(out)

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        sent_up = 0
        while not self._closing.is_set():
            if self.stalled:
                time.sleep(0.02)
                continue
            for source in select.select([near, far], [], [], 0.1)[0]:
                piece = source.recv(65536)
                if not piece:
                    return
                if self.delay_s:
                    time.sleep(self.delay_s)
                if source is far:
                    if not self.swallow_down:
                        near.sendall(self._refusing(piece))
                    continue
                sent_up += len(piece)
                if self.cut_after is not None and sent_up > self.cut_after:
                    self.cuts += 1
                    far.sendall(piece[: len(piece) // 2])
                    return
                far.sendall(piece)
