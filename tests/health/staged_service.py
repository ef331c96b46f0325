"""A service of two stages for the notify test: SIGUSR1 freezes one of them, SIGTERM stops it.

Not a test: `test_notify_of_a_process.py` runs it as a process of its own.
"""

from __future__ import annotations

import signal
import threading

from edge_app.clock import SystemClock
from edge_app.health.notify import Notifier
from edge_app.health.watchdog import StageSpec, Watchdog

STAGES = (
    StageSpec(name="capture", does="takes pictures", longest_silence_s=0.3, startup_limit_s=5),
    StageSpec(name="deliver", does="sends events", longest_silence_s=0.3, startup_limit_s=5),
)


def main() -> None:
    """Run both stages in their threads until SIGTERM."""
    stop, freeze = threading.Event(), threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: freeze.set())
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    watchdog = Watchdog(STAGES, clock=SystemClock(), notify=Notifier.from_environment())

    def work(name: str, frozen: threading.Event) -> None:
        while not stop.is_set():
            if frozen.is_set():
                stop.wait()
            watchdog.beat(name)
            stop.wait(0.02)

    threads = [
        threading.Thread(target=work, args=("capture", freeze), name="capture"),
        threading.Thread(target=work, args=("deliver", threading.Event()), name="deliver"),
    ]
    for thread in threads:
        thread.start()
    watchdog.start()
    while not stop.wait(0.05):
        pass
    watchdog.stop()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
