from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from build_engine import gpu_check
from edge_app.engines.machine import Gpu

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_without_a_gpu_nothing_was_tested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is not success: the exit status and the word say so."""
    monkeypatch.setattr(gpu_check, "find_gpu", lambda: None)
    assert gpu_check.NOTHING == gpu_check.main([])
    assert "NOTHING was tested" in capsys.readouterr().err


def test_what_cannot_be_built_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Every type of every builder is told with its reason, and the run fails."""
    monkeypatch.setattr(gpu_check, "find_gpu", lambda: Gpu("RTX 3060", "8.6", "13.0"))
    assert 1 == gpu_check.main(["--model", str(tmp_path / "none.json")])
    text = capsys.readouterr().out
    assert "RTX 3060, compute capability 8.6" in text
    assert "tensorrt: not tested" in text
    assert all(f"  {precision}: [DSR-400]" in text for precision in ("fp32", "fp16", "int8"))


def test_pictures_are_lit_differently() -> None:
    """32 of them, as the network takes them."""
    batch = gpu_check.pictures()
    assert ((32, 3, 224, 224), np.float32) == (batch.shape, batch.dtype)
    assert -1.0 <= batch.min() < batch.max() <= 1.0
    assert 32 == len({float(one.mean()) for one in batch})
