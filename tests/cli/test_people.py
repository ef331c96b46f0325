from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import stat
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_app.cli import people
from edge_app.cli.people_text import roster_csv, table
from edge_app.clock import SystemClock, boot_id
from edge_app.errors import ConfigError, GalleryError, PhotoError
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.identity import calibration
from edge_app.identity.calibration import Calibration
from edge_app.identity.cohort import Cohort, save
from edge_app.identity.gallery import Gallery
from edge_app.presence.place import Place
from edge_app.presence.store import Kept, LedgerFile
from tests.identity.thumbnail import ThumbnailRecogniser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CONFIG = """\
box: {{site: mine-1, node: box-01}}
cameras:
  - name: portal
    zone: portal
    source: {{kind: folder, path: pictures}}
detector: {{kind: centerface, model: {detector}}}
gallery: {{path: state/people.db, keep_crops: {crops}}}
delivery: {{brokers: [{{host: 127.0.0.1}}]}}
"""


@pytest.fixture
def config(tmp_path: Path, centerface: Path) -> Path:
    """Return a configuration with the real detector."""
    path = tmp_path / "box.yaml"
    path.write_text(CONFIG.format(detector=centerface, crops="true"))
    return path


@pytest.fixture
def command(config: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return ``dsr-edge people ...`` with thumbnails as recogniser: the model's own tests use the model."""
    model = {"sha256": "d" * 64}
    monkeypatch.setattr(
        "edge_app.wiring.build_recogniser",
        lambda _config: ThumbnailRecogniser(model_sha256=model["sha256"]),
    )

    def run(*words: Any, model_sha256: str | None = None) -> int:
        if model_sha256 is not None:
            model["sha256"] = model_sha256
        parser = argparse.ArgumentParser()
        people.add_parser(parser.add_subparsers())
        args = parser.parse_args(["people", *map(str, words), "--config", str(config)])
        return people.run(args)

    return run


@pytest.fixture
def registered(command: Callable[..., int], demo_photos: Mapping[str, Path], capsys: Any) -> None:
    """Register two people."""
    photos = [demo_photos["obama"], demo_photos["obama3"]]
    assert command("add", "--ref", "C-1", "--name", "Zoë Ünal", *photos) == 0
    assert command("add", "--ref", "C-2", "--name", "Smith, J.", demo_photos["biden"]) == 0
    capsys.readouterr()


def test_add_shows_each_photo_and_the_nearest_other(
    command: Callable[..., int], registered: None, demo_photos: Mapping[str, Path], capsys: Any
) -> None:
    """One line a photo; refused ones with reason and fix; exit status 0 because one was good."""
    photos = [demo_photos["astronaut"], demo_photos["biden"]]
    assert command("add", "--ref", "C-3", "--name", "Eileen", *photos) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["PHOTO", "FACE", "QUALITY", "OWN", "NEAREST", "OTHER", "RESULT"]
    assert lines[1].startswith("astronaut.png")
    assert " C-" in lines[1]
    assert lines[1].endswith("added")
    assert lines[2].endswith("refused")
    assert "refused: biden.jpg is the same file as one of C-2's" in lines
    assert "C-3: 1 of 2 photo(s) registered; the register is at version 3" in lines


def test_add_without_any_good_photo_fails(
    command: Callable[..., int], config: Path, tmp_path: Path, capsys: Any
) -> None:
    """Each reason on the terminal, exit status 2, nobody registered."""
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(PhotoError, match=r"none of 1 photo\(s\) could be used for C-1") as caught:
        command("add", "--ref", "C-1", "--name", "Ada", tmp_path / "empty.jpg")
    assert caught.value.exit_status == 2
    assert "refused: empty.jpg is empty (0 bytes)" in capsys.readouterr().out
    assert Gallery(path=config.parent / "state" / "people.db").people() == ()


def test_add_as_json_carries_all_numbers(
    command: Callable[..., int], demo_photos: Mapping[str, Path], capsys: Any
) -> None:
    """What a program that registers people needs; no name in it."""
    command("add", "--json", "--ref", "C-1", "--name", "Ada", demo_photos["obama"])
    report = json.loads(capsys.readouterr().out)
    assert (report["ref"], report["version"], report["added"]) == ("C-1", 1, 1)
    (photo,) = report["photos"]
    assert photo["added"] is True
    assert photo["quality"]["face_px"] == pytest.approx(250, abs=10)
    assert "Ada" not in json.dumps(report)


def test_add_keeps_no_crops_where_the_configuration_says_so(
    command: Callable[..., int], config: Path, demo_photos: Mapping[str, Path], centerface: Path
) -> None:
    """gallery.keep_crops: false."""
    config.write_text(CONFIG.format(detector=centerface, crops="false"))
    command("add", "--ref", "C-1", "--name", "Ada", demo_photos["obama"])
    (stored,) = Gallery(path=config.parent / "state" / "people.db").crops()
    assert stored.crop is None


def test_guided_takes_the_views_from_a_camera_and_says_which_are_missing(
    command: Callable[..., int], config: Path, demo_photos: Mapping[str, Path], capsys: Any
) -> None:
    """A recording in which somebody looks straight ahead: one view, registered; the others are named."""
    pictures = config.parent / "pictures"
    pictures.mkdir()
    for number in range(5):
        shutil.copy(demo_photos["obama"], pictures / f"{number}.jpg")
    assert 0 == command("add", "--ref", "C-9", "--name", "A. Miner", "--guided", "portal")
    shown = capsys.readouterr()
    assert "front: taken" in shown.err
    assert "turn your head a little to your left" in shown.err
    assert "C-9: views: front; missing: left, far left, right, far right, up, down" in shown.out
    assert 0 == command("show", "C-9", "--json")
    known = json.loads(capsys.readouterr().out)
    assert ["front"] == known["views"]["have"]
    assert ["portal-front.png"] == [photo["source"] for photo in known["photos"]]
    with pytest.raises(PhotoError, match="wanted: left, far left, right, far right, up, down"):
        command("add", "--ref", "C-9", "--name", "A. Miner", "--guided", "portal")


@pytest.mark.parametrize("words", [(), ("x.jpg", "--guided", "portal"), ("--guided", "cellar")])
def test_add_needs_photos_or_a_camera_that_there_is(command: Callable[..., int], words: Any) -> None:
    """Not none, not both, not another."""
    with pytest.raises(ConfigError):
        command("add", "--ref", "C-9", "--name", "A. Miner", *words)


def test_each_view_once_refuses_the_second_front(
    command: Callable[..., int], demo_photos: Mapping[str, Path], capsys: Any
) -> None:
    """With what both show; the first is registered."""
    photos = [demo_photos["obama"], demo_photos["obama3"]]
    assert 0 == command("add", "--ref", "C-9", "--name", "O", "--each-view-once", "--json", *photos)
    shown = json.loads(capsys.readouterr().out)
    views = {photo["photo"]: photo["reason"] for photo in shown["photos"]}
    assert shown["added"] + sum("same view" in str(reason) for reason in views.values()) == 2
    assert len(shown["views"]["have"]) == shown["added"]


def test_calibrate_says_what_it_stands_on(
    command: Callable[..., int], registered: None, config: Path, tmp_path: Path, capsys: Any
) -> None:
    """Thresholds, a small cohort, one photo a person; few strangers are refused with how many are needed."""
    pixels = np.random.default_rng(4).integers(0, 256, (60, 224, 224, 3), np.uint8)
    vectors = np.stack([one.vector for one in ThumbnailRecogniser().embed(pixels)])
    path = tmp_path / "strangers.npz"
    save(path, Cohort(vectors, "d" * 64, PREPROCESS_SHA256))
    assert 0 == command("calibrate", "--cohort", path, "--far", "0.01")
    said = capsys.readouterr().out
    for words in ("60 strangers", "its tail was continued", "one photo a person"):
        assert words in said
    assert (config.parent / "state" / "people.db.calibration.json").exists()
    save(path, Cohort(vectors[:9], "d" * 64, PREPROCESS_SHA256))
    with pytest.raises(GalleryError, match="9 strangers are too few"):
        command("calibrate", "--cohort", path)


def test_cohort_is_made_from_a_folder(
    command: Callable[..., int], demo_photos: Mapping[str, Path], tmp_path: Path, capsys: Any
) -> None:
    """With what had no usable face."""
    shutil.copy(demo_photos["biden"], tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(b"no picture")
    assert 0 == command("cohort", "--photos", tmp_path, "--out", tmp_path / "s.npz", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert (1, 1) == (shown["strangers"], shown["without_face"])


def test_list(command: Callable[..., int], registered: None, capsys: Any) -> None:
    """Everybody on one line each, and the version."""
    assert command("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["REF", "NAME", "PHOTOS", "BEST", "ADDED"]
    assert lines[1].split()[:4] == ["C-1", "Zoë", "Ünal", "2"]
    assert lines[2].startswith("C-2  Smith, J.")
    assert lines[3] == "2 people, version 2"
    command("list", "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == 2
    assert [2, 1] == [len(person["photos"]) for person in document["people"]]


def test_show(command: Callable[..., int], registered: None, capsys: Any) -> None:
    """One person's photos with what was measured."""
    assert command("show", "C-1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("C-1  Zoë Ünal  (added 2")
    assert ["obama.jpg", "obama3.jpg"] == [line.split()[0] for line in lines[2:-1]]
    assert "views: front, left; missing: far left, right, far right, up, down" == lines[-1]
    assert all("dddddddd" in line and " kept " in line for line in lines[2:-1])
    command("show", "C-1", "--json")
    assert json.loads(capsys.readouterr().out)["photos"][0]["models"] == ["d" * 64]


def test_remove(command: Callable[..., int], registered: None, capsys: Any) -> None:
    """Gone, and a second time an error."""
    assert command("remove", "C-1") == 0
    assert "removed C-1 with all photos; the register is at version 3\n" == capsys.readouterr().out
    with pytest.raises(GalleryError, match="nobody is registered as 'C-1'"):
        command("remove", "C-1")


def test_who_is_removed_and_inside_is_told_to_be_in_the_muster(
    command: Callable[..., int], registered: None, config: Path, capsys: Any
) -> None:
    """The same face would count beside them, as a stranger, for a day."""
    clock = SystemClock()
    now = clock.mono_ns()
    inside, left = Place("portal", "c", "t", now, now, 0.7), Place(None, "c", "u", now, now, 0.7)
    ledger = LedgerFile(path=config.parent / "state" / "presence.json", boot=boot_id(), clock=clock)
    assert ledger.save(Kept(people=(("C-1", inside), ("C-2", left))))
    assert 0 == command("remove", "C-1")
    said = capsys.readouterr().out
    assert "C-1 stays in the muster, in portal, until taken out: `dsr-edge presence correct --ref C-1" in said
    assert 0 == command("remove", "--json", "C-2")
    assert None is json.loads(capsys.readouterr().out)["still_in_zone"]


def test_who_looks_like_somebody_is_judged_by_the_calibration_in_use(
    command: Callable[..., int], registered: None, config: Path, demo_photos: Mapping[str, Path], capsys: Any
) -> None:
    """As the daemon does: after a lower threshold was set, two may be look-alikes who were none before."""
    low = Calibration(
        model_sha256="d" * 64, preprocess_sha256=PREPROCESS_SHA256, far=0.1, cohort=99, threshold=-0.9
    )
    calibration.save(calibration.path_beside(config.parent / "state" / "people.db"), low)
    with pytest.raises(PhotoError, match="none of 1"):
        command("add", "--ref", "C-3", "--name", "Eileen", demo_photos["astronaut"])
    assert "--allow-lookalike" in capsys.readouterr().out


def test_roster_as_csv_quotes_what_needs_quotes(
    command: Callable[..., int], registered: None, capsys: Any
) -> None:
    """A comma in a name stays in the name."""
    assert command("roster") == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["reference", "name"], ["C-1", "Zoë Ünal"], ["C-2", "Smith, J."]]


def test_roster_file_is_private_and_follows_its_ending(
    command: Callable[..., int], registered: None, tmp_path: Path, capsys: Any
) -> None:
    """Names are in it: mode 0600, also over a file that everybody could read."""
    out = tmp_path / "roster.json"
    out.touch(mode=0o644)
    command("roster", "--out", out)
    assert json.loads(out.read_text("utf-8"))[0] == {"reference": "C-1", "name": "Zoë Ünal"}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    command("roster", "--out", tmp_path / "roster.csv")
    assert (tmp_path / "roster.csv").read_text("utf-8").startswith("reference,name\nC-1,")
    assert capsys.readouterr().out == ""


def test_roster_that_cannot_be_written_leaves_nothing(
    command: Callable[..., int], registered: None, tmp_path: Path
) -> None:
    """No half a file, no temporary one."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(GalleryError, match="cannot write"):
        command("roster", "--out", tmp_path / "none" / "roster.csv")
    assert before == sorted(tmp_path.iterdir())


def test_reembed_after_a_model_change(
    command: Callable[..., int], registered: None, demo_photos: Mapping[str, Path], capsys: Any
) -> None:
    """Adding with the new model says what to run; running it makes adding work."""
    more = ("add", "--ref", "C-3", "--name", "Eileen", demo_photos["astronaut"])
    with pytest.raises(GalleryError, match="dsr-edge people reembed"):
        command(*more, model_sha256="e" * 64)
    assert command("reembed") == 0
    assert (
        capsys.readouterr().out == "embedded 3 photos with model eeeeeeeeeeee; the register is at version 3\n"
    )
    assert command(*more) == 0


@pytest.mark.parametrize("words", [("list",), ("show", "C-1"), ("remove", "C-1"), ("roster",)])
def test_without_a_register_nothing_is_made(
    command: Callable[..., int], config: Path, words: tuple[str, ...]
) -> None:
    """Looking does not create the file."""
    with pytest.raises(GalleryError, match="nobody is registered"):
        command(*words)
    assert not (config.parent / "state").exists()


def test_table_is_aligned_and_has_no_trailing_blanks() -> None:
    """The widest cell sets its column."""
    assert table(("A", "B"), [("wide cell", "x"), ("y", "")]) == "A          B\nwide cell  x\ny"


def test_empty_roster_is_a_header() -> None:
    """The surface can read it."""
    assert roster_csv([]) == "reference,name\n"


def test_people_travel_in_a_bundle(
    command: Callable[..., int],
    config: Path,
    demo_photos: Mapping[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exported, removed, taken over again by the digest that was printed; without a key, told how."""
    assert 0 == command("add", "--ref", "c-1", "--name", "Ann", demo_photos["obama"])
    bundle = tmp_path / "people.bundle"
    with pytest.raises(ConfigError, match="no key for bundles"):
        command("export", "--out", bundle)
    key = tmp_path / "bundle.key"
    key.write_text("ab" * 32, encoding="ascii")
    key.chmod(0o600)
    text = config.read_text().replace("state/people.db,", f"state/people.db, bundle_key: {key},")
    config.write_text(text)
    capsys.readouterr()
    assert 0 == command("export", "--out", bundle, "--json")
    made = json.loads(capsys.readouterr().out)
    assert 0 == command("remove", "c-1")
    with pytest.raises(GalleryError, match="not the file"):
        command("import", bundle, "--sha256", "0" * 64)
    capsys.readouterr()
    assert 0 == command("import", bundle, "--sha256", made["sha256"], "--json")
    done = json.loads(capsys.readouterr().out)
    assert (1, 0, 2, 3) == (done["added"], done["embedded"], done["previous_version"], done["version"])
    assert 0 == command("import", bundle)
    assert "1 as before" in capsys.readouterr().out
    assert 0 == command("export", "c-1", "--out", bundle)
    assert "sha256 " in capsys.readouterr().out
