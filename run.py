#!/usr/bin/env python3
"""One command for everything: ``python3 run.py demo``, ``test``, ``lint``, ``bench``, ``setup``, ``lock``.

Needs nothing but Python: the first run makes `.venv` in the checkout from a lock with hashes, later
runs find it. This file stays readable to old Pythons, so that they can say what is missing; the
work is done in `tooling/`.
"""

import os
import sys

OLDEST = (3, 10)
ROOT = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - old Pythons read this line too


def newer_python():  # noqa: ANN201 - as above
    """Return the path of a Python on this machine that is new enough, None where there is none."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for minor in (12, 11, 10, 13):
            path = os.path.join(folder, f"python3.{minor}")  # noqa: PTH118 - as above
            if os.access(path, os.X_OK) and os.system("'" + path + "' -c '' >/dev/null 2>&1") == 0:  # noqa: S605 - a fixed command
                return path
    return None


def main():  # noqa: ANN201 - as above
    """Run the command on the command line; see ``--help``."""
    if sys.version_info < OLDEST:
        found = newer_python()
        if found:
            os.execv(found, [found, os.path.abspath(__file__), *sys.argv[1:]])  # noqa: PTH100, S606 - as above
        version = sys.version.split()[0]
        sys.exit(
            f"dsr-edge needs Python 3.10 or newer; this is Python {version} at {sys.executable}.\n"
            "  fix: install one (Debian, Ubuntu: apt-get install python3 python3-venv) and run it with\n"
            "       python3.11 run.py ..."
        )
    if not sys.platform.startswith("linux"):
        sys.exit(
            f"dsr-edge runs on Linux; this is {sys.platform}.\n  fix: use a Linux machine, or a container"
        )
    sys.path.insert(0, ROOT)
    from tooling.commands import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
