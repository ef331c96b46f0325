"""How many passages are named, and how many strangers, by how views become a decision; on clips.

The box's detectors, tracker and quality gate go once over the clips of a folder that ``dsr-field make``
made, and every usable view is embedded. Then the decisions alone are played again, frame by frame, with
other options: how many views are weighed together, how many in a row must ask for a change, how many photos
are registered. A passage counts with eight faces or more, under the name that its tracks end with; a
stranger counts as named if any of their tracks ever was. Run as::

    dsr-field make --scenario field_test/scenarios/development.yaml --out out/development --people development
    python -m benchmarks.votes out/development
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from benchmarks.handover import frames_of
from benchmarks.passages import registered
from benchmarks.research import parser_for
from edge_app.embedding.recogniser import Recogniser
from edge_app.faces.detect import FOLLOW_SCORE, CenterFace
from edge_app.faces.dustface import DustFace
from edge_app.faces.pair import CENTERFACE_SCALE, DUST_SCALE, PairDetector
from edge_app.identity.evidence import VoteOptions
from edge_app.identity.handover import Handovers, Likeness
from edge_app.identity.match import Matcher
from edge_app.identity.snapshot import GallerySnapshot
from edge_app.identity.vote import IdentityStage
from field_test import assets
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from edge_app.faces.detect import Detector
    from edge_app.records import Embedding, FrameFaces, Identity
    from field_test.truth import Clip, Passage, Truth

    Vector = npt.NDArray[np.float32]

#: Photos registered, views weighed together, and views in a row that ask for a change.
OPTIONS: Final = (*((8, window, patience) for window in (12, 8, 6, 4) for patience in (4, 2)), (4, 6, 2))
_LEAST_FACES: Final = 8
_NO_PIXELS: Final = np.zeros((1, 1, 3), np.uint8)


class Seen(NamedTuple):
    """One frame: its faces, and by their place in it their embeddings and whose passages they show."""

    faces: FrameFaces
    embeddings: Mapping[int, Embedding]
    passages: Mapping[int, int]


class Shot(NamedTuple):
    """What was seen in one clip, and whose the passages are."""

    name: str
    frames: Sequence[Seen]
    passages: Mapping[int, Passage]


def seen_in(
    clip: Clip, truth: Truth, folder: Path, detector: Detector, recogniser: Recogniser
) -> Iterator[Seen]:
    """Yield every frame of a clip with an embedding of each usable face; the pictures are let go."""
    for found, shown in frames_of(clip, truth, folder, detector):
        crops = {place: face.crop for place, face in enumerate(found.faces) if face.crop is not None}
        vectors = recogniser.embed(np.stack(list(crops.values()))) if crops else []
        faces = tuple(dataclasses.replace(face, crop=None) for face in found.faces)
        bare = dataclasses.replace(
            found, faces=faces, frame=dataclasses.replace(found.frame, pixels=_NO_PIXELS)
        )
        yield Seen(bare, dict(zip(crops, vectors, strict=True)), shown)


class Replay:
    """The decisions about one shot, as the daemon makes them (`edge_app.recognise`)."""

    def __init__(self, shot: Shot, matcher: Matcher, options: VoteOptions) -> None:
        self._shot, self._handovers = shot, Handovers()
        self._stage = IdentityStage(lambda: matcher, options=options)
        self._ever: defaultdict[str, set[str]] = defaultdict(set)
        self._last: dict[str, str | None] = {}
        self._share: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for seen in shot.frames:
            self._frame(seen)
        for identity in self._stage.end_camera(shot.name, shot.frames[-1].faces.frame.mono_ns):
            self._hear(identity)

    def passages(self) -> Iterator[tuple[Passage, set[str], set[str]]]:
        """Yield each passage that counts, the names that its tracks ended with, and all they ever had."""
        tracks, faces = defaultdict(list), Counter[int]()
        for track, share in self._share.items():
            tracks[share.most_common(1)[0][0]].append(track)
            faces += share
        for number, passage in self._shot.passages.items():
            if faces[number] >= _LEAST_FACES:
                own = tracks[number]
                last = {name for track in own if (name := self._last.get(track)) is not None}
                yield passage, last, set().union(*(self._ever[track] for track in own))

    def _frame(self, seen: Seen) -> None:
        camera, faces = self._shot.name, self._handovers.renamed(seen.faces)
        frame = faces.frame
        for track in faces.crossed:
            self._stage.recheck(camera, track)
        for place, face in enumerate(faces.faces):
            now, embedding = face, seen.embeddings.get(place)
            if embedding is not None and not self._wanted(face.track, seen, place):
                embedding = None
            if embedding is not None:
                weight = face.quality.score
                likeness, name = self._handovers.view(camera, face.track, embedding, weight)
                if likeness is Likeness.OTHER:
                    self._hear(self._stage.end(camera, face.track, frame.mono_ns))
                    now = dataclasses.replace(face, track=name)
                embedding = None if likeness is Likeness.STRANGE else embedding
            self._hear(self._stage.view(camera, now, embedding, frame.index, frame.mono_ns))
            if place in seen.passages:
                self._share[now.track][seen.passages[place]] += 1
        for track in faces.ended:
            self._hear(self._stage.end(camera, track, frame.mono_ns))

    def _wanted(self, track: str, seen: Seen, place: int) -> bool:
        quality, now_ns = seen.faces.faces[place].quality, seen.faces.frame.mono_ns
        return self._handovers.doubts(self._shot.name, track) or self._stage.wants_embedding(
            self._shot.name, track, quality, now_ns
        )

    def _hear(self, identity: Identity | None) -> None:
        if identity is not None:
            self._last[identity.track] = identity.person_ref
            self._ever[identity.track] |= {identity.person_ref} - {None}  # type: ignore[arg-type]


def matcher_of(people: Mapping[str, Vector], photos: int, shots: Sequence[Shot], threshold: float) -> Matcher:
    """Return the matcher of a register of everybody's first so many photos."""
    sample = next(vector for shot in shots for seen in shot.frames for vector in seen.embeddings.values())
    registers = [own[:photos] for own in people.values()]
    snapshot = GallerySnapshot(
        gallery_id="clips",
        version=1,
        refs=tuple(people),
        owners=np.repeat(np.arange(len(people)), [len(own) for own in registers]),
        vectors=np.concatenate(registers),
        model_sha256=sample.model_sha256,
        preprocess_sha256=sample.preprocess_sha256,
    )
    return Matcher(snapshot=snapshot, threshold=threshold)


def line(shots: Sequence[Shot], matcher: Matcher, window: int, patience: int) -> str:
    """Return a line of the table, without how many photos are registered."""
    options = VoteOptions(window_views=window, unknown_views=min(6, window), change_patience=patience)
    right, strangers = defaultdict(list), []
    for shot in shots:
        for passage, last, ever in Replay(shot, matcher, options).passages():
            if passage.ref is None:
                strangers.append(bool(ever))
            else:
                right[passage.ash].append(last == {passage.ref})
    cells = " | ".join(f"{100 * np.mean(right[ash]):.1f} %" for ash in sorted(right))
    return f"| {window} | {patience} | {cells} | {100 * np.mean(strangers):.1f} % of {len(strangers)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    parser = parser_for(__doc__)
    parser.add_argument("clips", type=Path, help="a folder of `dsr-field make`")
    args = parser.parse_args(argv)
    recogniser = Recogniser.open(args.model)
    first = CenterFace.open(assets.ensure_detector(), score_threshold=FOLLOW_SCORE)
    people = registered(args.clips / "registration", first, recogniser)
    second = DustFace.open(assets.ROOT / "models" / "dustface.json", score_threshold=DUST_SCALE.follows)
    detector = PairDetector(first, second, scale=CENTERFACE_SCALE, second_scale=DUST_SCALE)
    shots = []
    for path in sorted(args.clips.glob("*/truth.jsonl")):
        truth = read_truth(path)
        for clip in truth.clips:
            frames = list(seen_in(clip, truth, path.parent, detector, recogniser))
            shots.append(Shot(f"{path.parent.name}/{clip.camera}", frames, truth.passages))
    levels = sorted({passage.ash for shot in shots for passage in shot.passages.values()})
    print(f"| photos | views | in a row | {' | '.join(levels)} | strangers |\n|{'---|' * (4 + len(levels))}")
    for photos, window, patience in OPTIONS:
        matcher = matcher_of(people, photos, shots, recogniser.threshold)
        print(f"| {photos} {line(shots, matcher, window, patience)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
