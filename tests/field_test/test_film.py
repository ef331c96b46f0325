"""Clips by scenario: the same for the same seed, true to their truth, of public portraits here."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_app.errors import ConfigError, PhotoError
from edge_app.faces.detect import CenterFace
from edge_app.records import Box
from field_test import film
from field_test.clipsheet import clip_sheet
from field_test.make import make
from field_test.people import gather
from field_test.scenario import FOLDER, Scenario, load_scenario
from field_test.traffic import plan
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from field_test.people import People
    from field_test.truth import Truth

PEOPLE = {"registered": 1, "photos": 2, "strangers": 2}
WALK = {"who": "registered:0", "start_s": 0.4, "far_m": 2.6, "near_m": 1.6}


def scenario(*shots: dict[str, Any], **keys: Any) -> Scenario:
    """Return a scenario of public people."""
    return Scenario.model_validate({"name": "s", "people": PEOPLE, "shots": list(shots), **keys})


@pytest.fixture(scope="module")
def people() -> People:
    """Return the public people: one registered, two strangers."""
    return gather("public", scenario({"name": "a", "seconds": 1}).people, seed=1)


def filmed(folder: Path, people: People, shot: dict[str, Any], **keys: Any) -> Truth:
    """Render one shot and return its truth."""
    told = scenario(shot, **keys)
    film.film(told.shots[0], told, plan(told.shots[0], told, people), folder, ash=film.own_ash)
    return read_truth(folder / "truth.jsonl")


def frames_of(clip: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield every frame of a clip."""
    capture = cv2.VideoCapture(str(clip))
    while (read := capture.read())[0]:
        yield np.asarray(read[1], dtype=np.uint8)


def test_the_same_seed_gives_the_same_clips_and_another_one_others(tmp_path: Path, people: People) -> None:
    """In every pixel and in every line of the truth."""
    shot = {"name": "a", "passages": [{**WALK, "turns": True, "ash": "heavy"}], "cameras": [{"drops": 0.2}]}
    first, second = (filmed(tmp_path / name, people, shot) for name in ("a", "b"))
    other = filmed(tmp_path / "c", people, shot, seed=2)

    assert first == second
    assert first != other
    pictures = [list(frames_of(tmp_path / name / "drift.mp4")) for name in ("a", "b")]
    assert len(first.frames) == len(pictures[0])
    assert all(np.array_equal(a, b) for a, b in zip(*pictures, strict=True))


def test_the_detector_finds_the_faces_where_the_truth_says(
    tmp_path: Path, people: People, centerface: Path
) -> None:
    """Clean faces that are near, each of two people, in most frames and where they are said to be."""
    shot = {
        "name": "a",
        "passages": [WALK, {**WALK, "who": "stranger:0", "side_m": -0.6, "to_side_m": -0.35}],
    }
    truth = filmed(tmp_path, people, shot)
    detector = CenterFace.open(centerface)
    hits = []
    try:
        for frame, picture in zip(truth.of("drift"), frames_of(tmp_path / "drift.mp4"), strict=True):
            found = detector.detect(picture)
            hits += [
                max((face.box.iou(Box(*one.box)) for face in found), default=0.0)
                for one in frame.faces
                if one.box[2] >= 50 and one.hidden < 0.2
            ]
    finally:
        detector.close()
    assert len(hits) > 15
    assert np.mean([hit >= 0.5 for hit in hits]) > 0.85


def test_what_is_nobody_is_empty(tmp_path: Path, people: People) -> None:
    """Before the first step there is nobody, and nobody has a box."""
    truth = filmed(tmp_path, people, {"name": "a", "passages": [{**WALK, "start_s": 1.0}]})
    early = [frame for frame in truth.of("drift") if frame.t < 1.0]
    assert 12 <= len(early)
    assert [] == [face for frame in early for face in (*frame.faces, *frame.present)]


def test_somebody_who_walks_away_has_no_face(tmp_path: Path, people: People) -> None:
    """They are there, and only their helmet is seen."""
    truth = filmed(tmp_path, people, {"name": "a", "passages": [{**WALK, "away": True}]})
    there = [frame for frame in truth.of("drift") if frame.present]
    assert len(there) > 8
    assert truth.passages[0].away
    assert [] == [face for frame in there for face in frame.faces]


def test_who_stands_behind_another_is_hidden(tmp_path: Path, people: People) -> None:
    """The farther of two in a line is covered, the nearer is not."""
    near = {
        **WALK,
        "who": "stranger:0",
        "far_m": 2.0,
        "near_m": 1.6,
        "speed": 0.2,
        "side_m": 0.0,
        "to_side_m": 0.0,
    }
    far = {**near, "who": "registered:0", "far_m": 3.4, "near_m": 3.0}
    truth = filmed(tmp_path, people, {"name": "a", "passages": [near, far]})
    both = [frame for frame in truth.of("drift") if len(frame.faces) == 2 and 1.6 < frame.t < 2.2]
    who = {number: one.ref for number, one in truth.passages.items()}

    assert len(both) >= 3
    hidden = [{who[face.passage]: face.hidden for face in frame.faces} for frame in both]
    assert min(one["C-2001"] for one in hidden) > 0.8
    assert max(one[None] for one in hidden) == 0.0


def test_ash_darkens_the_face_and_nothing_else_about_the_passage(tmp_path: Path, people: People) -> None:
    """The same walk, clean and heavy: the boxes agree, the faces do not."""
    shots = [{"name": "a", "passages": [{**WALK, "ash": ash}]} for ash in ("clean", "heavy")]
    clean, heavy = (filmed(tmp_path / str(n), people, shot) for n, shot in enumerate(shots))
    assert ["clean", "heavy"] == [truth.passages[0].ash for truth in (clean, heavy)]
    assert [frame.faces for frame in clean.of("drift")] == [frame.faces for frame in heavy.of("drift")]
    means = []
    for n, truth in enumerate((clean, heavy)):
        frames = zip(truth.of("drift"), frames_of(tmp_path / str(n) / "drift.mp4"), strict=True)
        x, y, w, h, picture = next(
            (*map(int, frame.faces[0].box), picture)
            for frame, picture in frames
            if frame.faces and frame.t > 1.2
        )
        means.append(float(picture[y : y + h, x : x + w].mean()))
    assert means[1] < means[0]


def test_dropped_frames_leave_gaps_in_time_and_quiet_ones_are_spared(tmp_path: Path, people: People) -> None:
    """The truth's times tell which frames the camera gave."""
    lossy = filmed(tmp_path / "a", people, {"name": "a", "seconds": 8, "cameras": [{"drops": 0.3}]})
    quiet = filmed(tmp_path / "b", people, {"name": "a", "seconds": 8, "quiet_fps": 1})

    assert 50 < len(lossy.frames) < 90
    assert list(range(len(lossy.frames))) == [frame.index for frame in lossy.of("drift")]
    assert 8 == len(quiet.frames)
    assert [1.04] * 7 == pytest.approx(np.diff([frame.t for frame in quiet.of("drift")]), abs=0.05)


def test_a_camera_that_changes_its_resolution_gives_other_boxes(tmp_path: Path, people: People) -> None:
    """Half the size from then on, and the truth with it."""
    shot = {"name": "a", "passages": [WALK], "resize": {"at_s": 1.0, "size": [320, 180]}}
    truth = filmed(tmp_path, people, shot)
    shapes = [cv2.imread(str(path)).shape[:2] for path in sorted((tmp_path / "drift").iterdir())]
    widths = {frame.t: frame.faces[0].box[2] for frame in truth.of("drift") if frame.faces}

    assert [(360, 640), (180, 320)] == [shapes[0], shapes[-1]]
    assert widths[max(t for t in widths if t < 1)] > 1.5 * widths[min(t for t in widths if t >= 1)]


def test_a_portals_truth_says_who_went_which_way(tmp_path: Path, people: People) -> None:
    """To the right is in, to the left is out, at the time at which the middle is passed."""
    way = {"far_m": 2.6, "near_m": 1.6, "speed": 0.8}
    there = {**way, "who": "registered:0", "start_s": 0.4, "side_m": -0.5, "to_side_m": 0.4}
    back = {**way, "who": "registered:0", "start_s": 3.4, "side_m": 0.5, "to_side_m": -0.4}
    truth = filmed(tmp_path, people, {"name": "a", "cameras": [{"portal": True}], "passages": [there, back]})

    assert ["in", "out"] == [one.way for one in truth.passages.values()]
    times = [one.crossed_s for one in truth.passages.values()]
    assert [0.4 + 0.69, 3.4 + 0.69] == pytest.approx(times, abs=0.15)


def test_the_photos_of_a_passage_never_registered_anybody(people: People) -> None:
    """Not one."""
    for one in people.registered:
        assert len(one.registration) == PEOPLE["photos"]
        assert set() == {view.key for view in one.registration} & {view.key for view in one.views}


def test_nobody_is_in_two_places_at_once(people: People) -> None:
    """In traffic by lot, over two cameras: no person's passages overlap."""
    told = scenario(
        {
            "name": "a",
            "cameras": [{"name": "x"}, {"name": "y"}],
            "traffic": {"registered": 6, "strangers": 12, "at_once": 4, "away": 0.3},
        }
    )
    walks = plan(told.shots[0], told, people)
    assert 36 <= len(walks)
    assert {"x", "y"} == {walk.camera for walk in walks}
    for who in {walk.person.who for walk in walks}:
        own = sorted((walk for walk in walks if walk.person.who == who), key=lambda walk: walk.start)
        assert all(a.end <= b.start for a, b in itertools.pairwise(own))


def test_traffic_gives_each_ash_level_alike(people: People) -> None:
    """A third of each person's passages each."""
    told = scenario({"name": "a", "traffic": {"registered": 9, "strangers": 9, "away": 0}})
    levels = [(walk.person.ref, walk.ash) for walk in plan(told.shots[0], told, people)]
    assert [3, 3, 3] == [levels.count(("C-2001", level)) for level in range(3)]
    assert [3, 3, 3] == [levels.count((None, level)) for level in range(3)]


def test_too_few_people_are_said_with_the_numbers() -> None:
    """What there is and what was asked for."""
    with pytest.raises(PhotoError, match="asked for are 5 and 2"):
        gather(
            "public", scenario({"name": "a", "seconds": 1}, people={**PEOPLE, "registered": 5}).people, seed=1
        )


def test_a_folder_with_another_scenario_is_left_alone(tmp_path: Path) -> None:
    """Neither it nor a stranger's folder is overwritten; one that is done stands."""
    said: list[str] = []
    told = scenario({"name": "a", "seconds": 0.5})
    make(told, tmp_path / "clips", collection="public", say=said.append)
    make(told, tmp_path / "clips", collection="public", say=said.append)
    assert "a: stands" == said[-1]
    assert 2 == len(list((tmp_path / "clips" / "registration" / "C-2001").iterdir()))

    with pytest.raises(ConfigError, match="another scenario"):
        make(told.model_copy(update={"seed": 9}), tmp_path / "clips", collection="public")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    with pytest.raises(ConfigError, match="not empty"):
        make(told, tmp_path / "mine", collection="public")


def test_a_try_that_was_refused_does_not_block_its_folder(tmp_path: Path) -> None:
    """Too few people: the fix names the other collection, and the next try may have the folder."""
    many = scenario({"name": "a", "seconds": 0.5}, people={**PEOPLE, "registered": 5})
    with pytest.raises(PhotoError, match="asked for are 5 and 2") as caught:
        make(many, tmp_path / "clips", collection="public")
    assert "--people development" in caught.value.fix
    assert not (tmp_path / "clips").exists()
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "scenario.json").write_text("{}", encoding="utf-8")  # of such a try, before
    make(scenario({"name": "a", "seconds": 0.5}), tmp_path / "clips", collection="public")
    assert (tmp_path / "clips" / "a" / "made").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no folder"):
        make(many, tmp_path / "file", collection="public")


@pytest.mark.parametrize(
    "event", [{"resize": {"at_s": 1, "size": [320, 180]}}, {"clock_jump": {"at_s": 1, "by_s": 9}}]
)
def test_what_would_happen_after_the_end_is_refused(tmp_path: Path, event: dict[str, Any]) -> None:
    """Silently, nothing would; the folder stays free."""
    with pytest.raises(ConfigError, match=r"shot a: \w+ at 1 s comes after the shot's end at 0\.5 s"):
        make(scenario({"name": "a", "seconds": 0.5, **event}), tmp_path / "clips", collection="public")
    assert not (tmp_path / "clips").exists()


def test_long_work_on_a_shot_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which frame it is at, every now and then."""
    said: list[str] = []
    monkeypatch.setattr("field_test.make.SAY_EVERY_S", 0.0)
    make(scenario({"name": "a", "seconds": 0.25}), tmp_path / "c", collection="public", say=said.append)
    assert ["a: frame 1 of 3", "a: frame 2 of 3", "a: frame 3 of 3"] == said[:3]


@pytest.mark.parametrize("name", ["smoke", "public", "empty"])
def test_scenarios_for_the_demos_portraits_have_enough_of_them(name: str) -> None:
    """What can be made without the research sets, as the documentation says."""
    told = load_scenario(FOLDER / f"{name}.yaml")
    people = gather("public", told.people, seed=told.seed)
    assert (told.people.registered, told.people.strangers) == (len(people.registered), len(people.strangers))


def test_who_comes_out_has_gone_in_and_no_more_are_inside_than_may(people: People) -> None:
    """Twenty minutes through one portal: the ways in and out follow each other as they must."""
    told = scenario(
        {
            "name": "a",
            "cameras": [{"portal": True}],
            "comings": {"minutes": 20, "at_most": 2, "every_s": 6, "strangers": 2},
        }
    )
    walks = plan(told.shots[0], told, people)
    inside: set[str] = set()
    for walk in walks:
        entering = walk.to_side > walk.side
        assert entering is (walk.person.who not in inside)
        inside ^= {walk.person.who}
        assert len(inside) <= 2
    assert len(walks) > 80
    assert all(a.end < b.start for a, b in itertools.pairwise(walks))


def test_the_contact_sheet_shows_every_shot(tmp_path: Path, people: People) -> None:
    """One row a shot, four pictures a row, the boxes where they are asked for."""
    for name in ("a", "b"):
        filmed(tmp_path / name, people, {"name": name, "passages": [WALK]})
    plain = cv2.imread(str(clip_sheet(tmp_path, tmp_path / "plain.png", boxes=False)))
    boxed = cv2.imread(str(clip_sheet(tmp_path, tmp_path / "boxed.png", boxes=True)))

    assert (2 * 225, 4 * 400, 3) == plain.shape == boxed.shape
    assert 0.0005 < float((cv2.absdiff(plain, boxed).max(axis=2) > 60).mean()) < 0.05
    with pytest.raises(ConfigError, match="holds no clips"):
        clip_sheet(tmp_path / "a", tmp_path / "none.png", boxes=False)
    for name in ("sheet.docx", "sheet", "none/sheet.png"):
        with pytest.raises(ConfigError, match="cannot be written"):
            clip_sheet(tmp_path, tmp_path / name, boxes=False)
