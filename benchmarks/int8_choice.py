"""What second terms and headroom give an INT8 network, on development people: 1 - cosine to FP32, and size.

Every setting quantises the plain network again with the release's ranges and calibration pictures, and is
held against FP32: on development people of CelebA, clean, dark and dusty, and on the ten miner-face
development people, clean and under light and heavy ash, all simulated by `calibration.conditions` (of these
ten the calibration pictures are). A face is seen with its mirror image, in ONNX Runtime. The size is that of
the engines of TensorRT-RTX, which needs no GPU for them. This is where `build_engine.placement` has its
constants from.

Run as ``python -m benchmarks.int8_choice PICTURES MANIFEST``: the MF pictures and the calibration manifest of
``dsr-engine release`` (``runs/release``). It needs the research data, and says so without it.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.research import data_or_word, parser_for
from build_engine import placement, quantize
from build_engine.build import BuildOptions, build_engine
from build_engine.trt_api import TENSORRT_RTX, Toolkit
from calibration.collect import batch_of
from dsr_inception.celeba import celeba_photos
from dsr_inception.crops import aligned_crops, degraded_crops, miner_crops, own_ash
from dsr_inception.datasets import PhotoSet, Splits, miner_photos
from dsr_inception.embedders import unit
from edge_app.faces.detect import CenterFace

if TYPE_CHECKING:
    import argparse

    import numpy.typing as npt

    Crops = npt.NDArray[np.uint8]

#: Share of more multiply-adds, share of weights twice, headroom, headroom where every reader takes two terms.
SETTINGS: Final = (
    (0.0, 0.0, 1.1, 4.0),
    (0.33, 0.13, 1.1, 4.0),
    (0.6, 0.16, 1.1, 2.0),
    (0.6, 0.16, 1.1, 4.0),
    (0.6, 0.16, 1.3, 4.0),
    (1.0, 1.0, 1.1, 4.0),
)
TARGETS: Final = ("SM86", "SM89")
BATCH: Final = 25
_CONSTANTS: Final = ("WEIGHTS_TWICE", "HEADROOM", "HEADROOM_TWO_TERMS")


def pictures(arguments: argparse.Namespace, data: Path) -> dict[str, Crops]:
    """Return the development crops by condition, each (N, 224, 224, 3) uint8 RGB."""
    splits, celeba = Splits.load(data), celeba_photos(data)
    photos = [p for p in celeba.photos if p.person in splits.celeba_development]
    crops = aligned_crops(celeba, photos)
    miners = PhotoSet(data, "mf_photos")
    own = [p for p in miner_photos(miners) if p.person in splits.mf_development]
    ash = miner_crops(miners, own, CenterFace.open(arguments.detector), own_ash)
    return {
        "clean": crops,
        "heavy": degraded_crops(crops, "heavy", seed=0),
        "dark_dust": degraded_crops(crops, "dark_dust", seed=0),
        **{f"miners, {level}": found.crops for level, found in ash.items()},
    }


def embedded(model: object, crops: Crops) -> npt.NDArray[np.float32]:
    """Return the vectors of faces with their mirror images, (N, D)."""
    parts = [crops[at : at + BATCH] for at in range(0, len(crops), BATCH)]
    return np.concatenate(
        [unit(sum(quantize.embed(model, batch_of(c)) for c in (part, part[:, :, ::-1]))) for part in parts]
    )


def engine_sizes(model: Path, work: Path) -> list[int]:
    """Return the bytes of the engines for `TARGETS`, from the INT8 file in `work` and the FP32 `model`."""
    for suffix in (".json", ".onnx"):
        shutil.copy(model.with_suffix(suffix), work)
    sizes = []
    for target in TARGETS:
        options = BuildOptions(model=work / model.name, out=work / target, precision="int8", target=target)
        built = build_engine(Toolkit(TENSORRT_RTX), options, say=lambda _: None)
        sizes.append(json.loads(built.manifest.read_text())["bytes"])
    return sizes


def main() -> int:
    """Print the table of every setting."""
    parser = parser_for(__doc__)
    parser.add_argument("pictures", type=Path, nargs="?")
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--setting", action="append", type=lambda s: tuple(map(float, s.split(","))))
    arguments = parser.parse_args()
    if arguments.manifest is None:
        print("no MF pictures and calibration manifest given: nothing measured")
        return 0
    data = data_or_word()
    if data is None:
        return 0
    name = arguments.model.with_suffix("")
    sources = Path(f"{name}.plain.json"), Path(f"{name}.scales.json")
    _, model, _ = quantize._sources(*sources)  # noqa: SLF001
    calibrated = quantize.Pictures(folder=arguments.pictures, manifest=arguments.manifest)
    sets = pictures(arguments, data)
    reference = {label: embedded(model, crops) for label, crops in sets.items()}
    columns = (*sets, *(f"{target}, MB" for target in TARGETS))
    print("| terms, weights, headroom | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for setting in arguments.setting or SETTINGS:
        for constant, value in zip(_CONSTANTS, setting[1:], strict=True):
            setattr(placement, constant, value)
        cells = []
        with tempfile.TemporaryDirectory() as work:
            made = quantize.quantize_files(
                *sources, Path(work), version="100300", pictures=calibrated, second_terms=setting[0]
            )
            for label, crops in sets.items():
                off = 1 - (embedded(made.network.quantised, crops) * reference[label]).sum(axis=1)
                cells.append(f"{off.mean():.5f}, {np.quantile(off, 0.99):.4f}, {off.max():.4f}")
            cells += [f"{size / 1e6:.2f}" for size in engine_sizes(arguments.model, Path(work))]
        print(f"| {', '.join(f'{value:g}' for value in setting)} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
