"""The independent decoder is what was locked, wherever it comes from."""

from __future__ import annotations

import json
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "sparkplug" / "decoder" / "package-lock.json"


def test_every_package_is_pinned_by_version_and_hash_and_by_no_address() -> None:
    """The registry asked is the one of the machine; the hashes say whether the answer is right."""
    packages = {name: entry for name, entry in json.loads(LOCK.read_text())["packages"].items() if name}

    assert "1.0.3" == packages["node_modules/sparkplug-payload"]["version"]
    assert [] == [name for name, entry in packages.items() if not entry["integrity"].startswith("sha512-")]
    assert "resolved" not in LOCK.read_text()
