"""Does brightening a dark and dusty picture help before detection or recognition, and what does it cost?

``python -m benchmarks.illumination`` lays the unaligned photos of the development people into frames of
640 x 360 in simulated darkness and dust (`dsr_inception.detection`), and asks for each way of brightening:
which faces does CenterFace find, at the score of a face and at that which continues a track; and who is
nearest, of the people as registered on their other, clean photos, to the crop cut at the clean photo's
landmarks. The crop's own preprocessing is not changed: what brightens, brightens the frame before it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from dsr_inception.datasets import Splits, data_folder
from dsr_inception.detection import FOUND, HEIGHTS, dark_dust, framed
from dsr_inception.dust_sources import development_cases
from dsr_inception.embedders import OnnxEmbedder
from edge_app.faces.detect import FOLLOW_SCORE, SCORE_THRESHOLD, CenterFace
from edge_app.faces.preprocess import align

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]

ROOT: Final = Path(__file__).resolve().parent.parent
WANTED: Final = 100.0


def _gamma(image: Image, power: float) -> Image:
    ramp = np.clip(255 * (np.arange(256) / 255) ** power, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, ramp), np.uint8)


def _automatic(image: Image) -> Image:
    """Bring the bright twentieth of the picture to a fixed grey, by a gamma of at least .4."""
    bright = max(float(np.percentile(image[::8, ::8], 95)), 2.0)
    power = np.log((WANTED + 60) / 255) / np.log(min(bright, 250.0) / 255)
    return _gamma(image, float(np.clip(power, 0.4, 1.0)))


def _clahe(image: Image) -> Image:
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
    light = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(lab[:, :, 0]))
    lab[:, :, 0] = light
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), np.uint8)


def _retinex(image: Image) -> Image:
    """One scale: the logarithm over that of its surroundings, stretched to the middle 98 %."""
    logs = np.log1p(image.astype(np.float32))
    small = cv2.resize(logs, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
    around = cv2.resize(cv2.GaussianBlur(small, (0, 0), 6), logs.shape[1::-1])
    found = logs - around
    low, high = np.percentile(found[::4, ::4], (1, 99))
    return np.asarray(np.clip((found - low) / max(high - low, 1e-3) * 255, 0, 255), np.uint8)


WAYS: Final[dict[str, Callable[[Image], Image]]] = {
    "as it is": lambda image: image,
    "gamma .6": lambda image: _gamma(image, 0.6),
    "gamma .45": lambda image: _gamma(image, 0.45),
    "automatic gamma": _automatic,
    "CLAHE": _clahe,
    "retinex": _retinex,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--detector", type=Path, default=ROOT / ".cache" / "models" / "centerface.json")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "dsr_inception.onnx")
    parser.add_argument("--every", type=int, default=1, help="only every so many photos")
    args = parser.parse_args(argv)
    folder = data_folder(None)
    detector = CenterFace.open(args.detector)
    weak = CenterFace.open(args.detector, score_threshold=FOLLOW_SCORE)
    cases = list(development_cases(folder, Splits.load(folder), [detector]))
    embedder = OnnxEmbedder(args.model, name="box")
    clean = embedder.embed(np.stack([align(case.pixels, case.faces[0].landmarks) for case in cases]))
    people = np.array([case.person for case in cases])
    print("| frame | found at .5 | at .15 | nearest is right | mean similarity | ms a frame |")
    print("|---" * 6 + "|")
    chosen = range(0, len(cases), args.every)
    dark = []
    for number in chosen:
        case = framed(cases[number], HEIGHTS[number % len(HEIGHTS)])
        box = case.faces[0].box
        dark.append((case, dark_dust(case.pixels, (box.x, box.y, box.width, box.height), case.key)))
    for name, way in WAYS.items():
        print(_row(name, way, dark, weak, embedder, clean, people, np.array(chosen)), flush=True)
    return 0


def _row(  # noqa: PLR0917 -- one call, in reading order
    name: str,
    way: Callable[[Image], Image],
    dark: Sequence[Any],
    weak: CenterFace,
    embedder: OnnxEmbedder,
    clean: npt.NDArray[np.float32],
    people: npt.NDArray[np.str_],
    place: npt.NDArray[np.intp],
) -> str:
    found, continued, crops, spent = [], [], [], []
    for case, seen in dark:
        began = time.thread_time_ns()
        bright = way(seen)
        spent.append((time.thread_time_ns() - began) / 1e6)
        scores = [f.score for f in weak.detect(bright) if f.box.iou(case.faces[0].box) >= FOUND]
        found.append(max(scores, default=0.0) >= SCORE_THRESHOLD)
        continued.append(bool(scores))
        crops.append(align(bright, case.faces[0].landmarks))
    vectors = embedder.embed(np.stack(crops))
    right, own = [], []
    for vector, at in zip(vectors, place, strict=True):
        others = np.arange(len(people)) != at
        names = np.unique(people)
        means = [clean[others & (people == one)].mean(axis=0) for one in names]
        likeness = np.array([float(vector @ mean / np.linalg.norm(mean)) for mean in means])
        right.append(names[likeness.argmax()] == people[at])
        own.append(likeness[names == people[at]][0])
    shares = [f"{100 * np.mean(one):.1f} %" for one in (found, continued, right)]
    return f"| {name} | {' | '.join(shares)} | {np.mean(own):.3f} | {np.median(spent):.2f} |"


if __name__ == "__main__":
    sys.exit(main())
