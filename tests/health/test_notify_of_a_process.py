"""A real process, a real datagram socket: READY, the beats, and their absence when a stage freezes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def test_ready_then_beats_then_none_when_a_stage_freezes(service_manager: Any) -> None:
    """What systemd would hear from a service whose camera thread hangs while the others go on."""
    manager = service_manager(watchdog_s=0.3)  # the service then feeds it every 0.1 s
    manager.start(sys.executable, str(ROOT / "tests/health/staged_service.py"))
    assert "READY=1" in manager.listen(20, until="READY=1")
    assert manager.listen(0.8).count("WATCHDOG=1") >= 4

    manager.process.send_signal(signal.SIGUSR1)
    assert "STATUS=silent: capture (takes pictures; over its 0.3 s)" in manager.listen(5, until="STATUS=sil")
    assert manager.listen(0.8) == []  # the other stage still beats; nobody is fed

    manager.process.send_signal(signal.SIGTERM)
    assert "STOPPING=1" in manager.listen(5, until="STOPPING=1")
    assert manager.process.wait(5) == 0
    assert 1 == manager.heard.count("READY=1")
