"""`dsr-edge run` whose stage ``recognise`` hangs for good from SIGUSR1 on; all else is the daemon.

Not a test: `test_service_of_daemon.py` runs it as a process of its own. The limits of silence are cut
to two seconds, so that the test need not wait for half a minute.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from edge_app import daemon
from edge_app.cli.main import main
from edge_app.stages import Slot

FROZEN = threading.Event()


def frozen_take(take: Any) -> Any:
    """Return `Slot.take` (which only ``recognise`` calls) as it is, until it hangs."""

    def taken(slot: Slot[Any], *, timeout: float) -> Any:
        if FROZEN.is_set():
            threading.Event().wait()
        return take(slot, timeout=timeout)

    return taken


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: FROZEN.set())
    stages = tuple((name, does, 2.0, first) for name, does, _, first in daemon.STAGES)
    setattr(daemon, "STAGES", stages)  # noqa: B010 - it is Final
    setattr(Slot, "take", frozen_take(Slot.take))  # noqa: B010 - as above
    sys.exit(main())
