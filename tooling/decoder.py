"""The independent decoder of Sparkplug payloads, from npm, for one test: pinned by version and hash.

Node.js is no requirement of the project. Where it is missing, the set-up says so in one line and the
test is skipped; CI installs it, and there a skipped test is a failure.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_FILES: Final = ("package.json", "package-lock.json")


def decoder_folder(root: Path) -> Path:
    """Return where the decoder's packages are installed."""
    return root / ".cache" / "sparkplug-decoder"


def ensure_decoder(root: Path) -> bool:
    """Install the decoder unless it is there as locked; return whether it is there."""
    source, folder = root / "tests" / "sparkplug" / "decoder", decoder_folder(root)
    stamp = folder / "installed"
    locked = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == locked:
        return True
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("set-up: no Node.js, so the independent Sparkplug decoder is not tested (apt-get install npm)")
        return False
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for name in _FILES:
        shutil.copyfile(source / name, folder / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"set-up: npm cannot install the independent Sparkplug decoder:\n{done.stderr.strip()[-400:]}")
        return False
    stamp.write_text(locked, encoding="ascii")
    return True
