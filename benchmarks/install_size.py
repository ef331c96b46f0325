"""How large the box's install is: the wheels to carry there, and what they unpack to.

Downloads what `locks/box.txt` names for this machine, by hash, and adds up; nothing is installed.
The bar is DESIGN's: the wheels, without models, are at most 150 MB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

BAR_MB: Final = 150.0
LOCK: Final = Path(__file__).resolve().parent.parent / "locks" / "box.txt"


def main() -> int:
    """Print the table; return 1 where the bar is missed."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
        ]
        command += [
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--dest",
            scratch,
            "--requirement",
            str(LOCK),
        ]
        subprocess.run(command, check=True)
        rows = []
        for wheel in Path(scratch).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            rows.append((wheel.stat().st_size / 1e6, unpacked / 1e6, wheel.name.split("-")[0]))
    for packed, unpacked, name in sorted(rows, reverse=True):
        print(f"  {name:<24} {packed:7.1f} MB  unpacked {unpacked:7.1f} MB")
    packed, unpacked = sum(row[0] for row in rows), sum(row[1] for row in rows)
    met = packed <= BAR_MB
    print(f"box install, wheels: {packed:.0f} MB (bar: {BAR_MB:.0f} MB) {'met' if met else 'MISSED'}")
    print(f"unpacked on the disk, without compiled caches: {unpacked:.0f} MB")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
