"""Reading the sets: archive and folder alike, splits by person, and every fault named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dsr_inception import datasets as ds
from dsr_inception.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

POSES = ds.POSES


def _png(seed: int = 0) -> bytes:
    import cv2

    grid = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", grid)[1])


def test_archive_and_folder_read_alike(small_set: Path) -> None:
    """The same set unpacked gives the same people, files and pixels."""
    import tarfile

    packed = ds.PhotoSet(small_set, "celeba_train")
    with tarfile.open(small_set / "celeba_train.tar") as archive:
        archive.extractall(small_set / "unpacked" / "celeba_train", filter="data")
    unpacked = ds.PhotoSet(small_set / "unpacked", "celeba_train")
    assert packed.photos == unpacked.photos
    np.testing.assert_array_equal(packed.read(packed.photos[4]), unpacked.read(packed.photos[4]))
    assert ["00000", "00001"] == list(packed.by_person())[:2]


def test_training_photos_leave_out_development_and_held_back(small_set: Path) -> None:
    """No photo of a development person, not the last of a deep one, all of the others."""
    photos = ds.PhotoSet(small_set, "celeba_train").photos
    kept = ds.training_photos(photos, ds.Splits.load(small_set), hold_back=2)
    assert 4 * 3 + 1 == len(kept)
    assert ["00004/0.png"] == [p.file for p in kept if p.person == "00004"]
    assert "00005" not in {p.person for p in kept}


def test_missing_folder_says_what_to_put_where(tmp_path: Path) -> None:
    """The error names the folder, the files and the variable."""
    with pytest.raises(DataError, match=r"celeba_train.tar.*DSR_DATA"):
        ds.data_folder(tmp_path / "nothing")


def test_missing_set_names_the_file(tmp_path: Path) -> None:
    """The error names the archive and the folder it belongs into."""
    with pytest.raises(DataError, match=r"put strangers.tar or a folder strangers/ into"):
        ds.PhotoSet(tmp_path, "strangers")


def test_broken_archive_is_named(tmp_path: Path) -> None:
    """A file that is no archive is told from a missing one."""
    (tmp_path / "strangers.tar").write_bytes(b"not a tar archive")
    with pytest.raises(DataError, match=r"strangers.tar is no readable tar archive"):
        ds.PhotoSet(tmp_path, "strangers")


def test_unreadable_picture_is_named(make_tar: Any, tmp_path: Path) -> None:
    """A zero-byte and a damaged picture are named; the others can be read."""
    make_tar("set", {"a/good.png": _png(), "a/empty.png": b"", "a/bad.png": b"\x89PNG broken"})
    photos = ds.PhotoSet(tmp_path, "set")
    assert (16, 16, 3) == photos.read("a/good.png").shape
    for name in ("a/empty.png", "a/bad.png"):
        with pytest.raises(DataError, match=f"set/{name} is no readable picture"):
            photos.read(name)


def test_empty_set_is_refused(make_tar: Any, tmp_path: Path) -> None:
    """An archive without pictures is no set."""
    make_tar("set", {"readme.txt": b"hello"})
    with pytest.raises(DataError, match="holds no pictures"):
        ds.PhotoSet(tmp_path, "set")


def test_one_image_classes_are_named() -> None:
    """People with too few pictures are listed; an empty set says so."""
    photos = [ds.Photo("a", "a/1"), ds.Photo("a", "a/2"), ds.Photo("b", "b/1")]
    with pytest.raises(DataError, match="1 people have fewer than 2 pictures: b"):
        ds.require_classes(photos)
    with pytest.raises(DataError, match="nobody to train on"):
        ds.require_classes([])
    ds.require_classes(photos[:2])


def test_person_in_both_splits_is_refused(small_set: Path) -> None:
    """A person for choices must not be reported on; a file cut short or without a list says what it holds."""
    path = small_set / "splits.json"
    content = json.loads(path.read_text())
    content["mf_test"] = ["a"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"development and test share \['a'\]"):
        ds.Splits.load(small_set)
    for broken in ('{"celeba_development": [', "[]", '{"celeba_development": []}'):
        path.write_text(broken)
        with pytest.raises(DataError, match=r"splits.json cannot be used: .*; it holds a list of people for"):
            ds.Splits.load(small_set)


def test_lfw_pairs_are_read(make_tar: Any, tmp_path: Path) -> None:
    """Same-person lines have three fields, the others four; an absent photo is named with its line."""
    files = {f"{who}/{who}_{k:04d}.png": _png(k) for who in ("Ann", "Bob") for k in (1, 2)}
    make_tar("lfw_pairs", files | {"pairs.txt": b"2\t1\nAnn\t1\t2\nAnn\t2\tBob\t1\n"})
    pairs, same, folds = ds.lfw_pairs(ds.PhotoSet(tmp_path, "lfw_pairs"))
    assert [("Ann/Ann_0001.png", "Ann/Ann_0002.png"), ("Ann/Ann_0002.png", "Bob/Bob_0001.png")] == pairs
    assert ([True, False], 2) == (same.tolist(), folds)
    make_tar("lfw_pairs", files | {"pairs.txt": b"2\t1\nAnn\t1\t7\n"})
    with pytest.raises(DataError, match="line 2: Ann_0007 is not among the photos"):
        ds.lfw_pairs(ds.PhotoSet(tmp_path, "lfw_pairs"))


def _miner_rows(person: str) -> list[dict[str, Any]]:
    box = [1.0, 2.0, 10.0, 12.0]
    return [{"person": person, "pose": p, "file": f"{person}/{p}.png", "box": box} for p in POSES]


def test_miner_set_is_checked(make_tar: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A missing pose is a warning; a double or unknown pose and a missing picture are named errors."""
    rows = _miner_rows("a") + _miner_rows("b")
    files = {row["file"]: _png() for row in rows}

    def written(listed: list[dict[str, Any]], kept: dict[str, bytes]) -> ds.PhotoSet:
        make_tar("mf", kept | {"manifest.json": json.dumps(listed).encode()})
        return ds.PhotoSet(tmp_path, "mf")

    assert 14 == len(ds.miner_photos(written(rows, files)))
    assert 13 == len(ds.miner_photos(written(rows[:-1], files)))
    assert "1 poses are missing: b/down_15" in caplog.text
    fewer = {name: content for name, content in files.items() if name != "a/front.png"}
    with pytest.raises(DataError, match=r"the picture a/front.png is missing"):
        ds.miner_photos(written(rows, fewer))
    with pytest.raises(DataError, match="a/front stands 2 times"):
        ds.miner_photos(written([*rows, rows[0]], files))
    with pytest.raises(DataError, match="b/sideways: no such pose"):
        ds.miner_photos(written([*rows[:-1], rows[-1] | {"pose": "sideways"}], files))
