"""What the benchmarks on the research sets share: their options, the data, and the box's vectors of crops."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.vision import data_folder

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.embedding.recogniser import Recogniser

    Vectors = npt.NDArray[np.float32]

ROOT: Final = Path(__file__).resolve().parent.parent


def parser_for(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser that knows which model and which detector; `doc` is the benchmark's docstring."""
    parser = argparse.ArgumentParser(description=str(doc).splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "dsr_inception.json")
    parser.add_argument("--detector", type=Path, default=ROOT / ".cache" / "models" / "centerface.json")
    return parser


def data_or_word() -> Path | None:
    """Return the research data's folder; None, and a word about it, where it is not."""
    data = data_folder()
    if data is None:
        print("the research data is not here (DSR_DATA): nothing measured")
    return data


def embedded(recogniser: Recogniser, crops: npt.NDArray[np.uint8]) -> Vectors:
    """Return the vectors of (N, 224, 224, 3) uint8 RGB crops, (N, D)."""
    return np.stack([one.vector for one in recogniser.embed(crops)])
