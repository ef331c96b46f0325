from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from edge_app.errors import GalleryError
from edge_app.identity.gallery import Gallery
from edge_app.identity.people import NewPhoto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_app.records import Embedding

MODEL = "a" * 64
PREPROCESS = "b" * 64
NOBODY = 65534

Unit = Callable[..., npt.NDArray[np.float32]]
Maker = Callable[..., NewPhoto]


@contextlib.contextmanager
def _without_privilege(folder: Path) -> Iterator[None]:
    """Act as an ordinary user who owns `folder`; root could write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and parent.name.startswith("pytest"):
            parent.chmod(0o755)
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_new_register_is_empty_private_and_at_version_0(gallery: Gallery) -> None:
    """A new register holds nobody, and only its owner may read it."""
    assert gallery.version == 0
    assert gallery.people() == ()
    assert stat.S_IMODE(gallery.path.stat().st_mode) == 0o600
    assert [gallery.path] == list(gallery.path.parent.iterdir())


def test_create_leaves_an_existing_register_alone(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """Making it twice loses nobody."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    gallery.create()
    assert ["A1"] == [person.ref for person in gallery.people()]


def test_create_makes_the_folder(tmp_path: Path) -> None:
    """The folder of a first register need not be there."""
    gallery = Gallery(path=tmp_path / "state" / "deep" / "people.db")
    gallery.create()
    assert gallery.version == 0


def test_add_keeps_everything_about_a_photo(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """What went in comes out: name, source, quality, models, the crop bit by bit."""
    new = photo("one", unit(a=1.0))
    assert gallery.add(ref="A1", name="Ada Lovelace", photos=[new]) == 1
    person = gallery.person("A1")
    assert person.name == "Ada Lovelace"
    assert person.added_ms == 1_800_000_000_000
    (info,) = person.photos
    assert (new.source_name, new.source_sha256) == (info.source_name, info.source_sha256)
    assert info.quality == new.quality
    assert info.models == (MODEL,)
    (stored,) = gallery.crops()
    assert new.crop is not None
    np.testing.assert_array_equal(new.crop, stored.crop)
    assert stored.aligned_by == PREPROCESS


def test_photos_without_crops_leave_no_picture(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """Crops can be switched off: then the file holds none."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0), crop=False)])
    assert [None] == [stored.crop for stored in gallery.crops()]
    assert not gallery.person("A1").photos[0].has_crop
    assert b"\x89PNG" not in gallery.path.read_bytes()


def test_no_wall_clock_no_date(gallery: Gallery, clock, unit: Unit, photo: Maker) -> None:  # noqa: ANN001
    """Without a believable clock nothing is dated."""
    clock.wall_ms = None
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    assert gallery.person("A1").added_ms is None


def test_every_change_counts_and_is_listed_without_names(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """Version and list of changes go together; the proof of a removal names nobody."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    gallery.add(ref="A1", name="Ada", photos=[photo("two", unit(a=0.9))])
    gallery.remove("A1")
    assert gallery.version == 3
    assert [(1, "add", "A1"), (2, "add", "A1"), (3, "remove", "A1")] == [row[:3] for row in gallery.changes()]


def test_removed_person_is_not_left_in_the_file(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """Removal overwrites: neither name nor vector can be found in the file afterwards."""
    new = photo("one", unit(a=0.6, b=0.8))
    gallery.add(ref="A1", name="Unmistakable Name", photos=[new])
    vector = new.embedding.vector.tobytes()
    assert vector in gallery.path.read_bytes()
    gallery.remove("A1")
    left = gallery.path.read_bytes()
    assert b"Unmistakable Name" not in left
    assert vector not in left
    assert b"IHDR" not in left


def test_remove_of_nobody_says_who_is_missing(gallery: Gallery) -> None:
    """A wrong reference changes nothing."""
    with pytest.raises(GalleryError, match="nobody is registered as 'B2'"):
        gallery.remove("B2")
    assert gallery.version == 0


@pytest.mark.parametrize("ref", ["", "a b", "x" * 33, "né", "../x", "A1\n"])
def test_bad_references_are_refused(gallery: Gallery, unit: Unit, photo: Maker, ref: str) -> None:
    """The reference goes on the wire: one form, no exceptions."""
    with pytest.raises(GalleryError, match="not a reference"):
        gallery.add(ref=ref, name="Ada", photos=[photo("one", unit(a=1.0))])


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
def test_bad_names_are_refused(gallery: Gallery, unit: Unit, photo: Maker, name: str) -> None:
    """A name is something to print."""
    with pytest.raises(GalleryError, match="not a name"):
        gallery.add(ref="A1", name=name, photos=[photo("one", unit(a=1.0))])


def test_known_person_under_another_name_is_refused(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """A slip of a card number must not mix two people."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    with pytest.raises(GalleryError, match="another name"):
        gallery.add(ref="A1", name="Bob", photos=[photo("two", unit(b=1.0))])


def test_change_that_fails_half_way_changes_nothing(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """The second photo is known already: the first is not registered either."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    with pytest.raises(GalleryError, match=r"one\.jpg is already registered for A1"):
        gallery.add(ref="B2", name="Bob", photos=[photo("two", unit(b=1.0)), photo("one", unit(b=1.0))])
    assert gallery.version == 1
    assert ["A1"] == [person.ref for person in gallery.people()]


def test_stale_checks_are_refused(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """Somebody else registered a person since this command looked."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    with pytest.raises(GalleryError, match="changed by another command"):
        gallery.add(ref="B2", name="Bob", photos=[photo("two", unit(b=1.0))], expected_version=0)


def test_snapshot_groups_photos_by_person(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """Rows come person by person, whatever the order of registration."""
    gallery.add(ref="B2", name="Bob", photos=[photo("b1", unit(b=1.0))])
    gallery.add(ref="A1", name="Ada", photos=[photo("a1", unit(a=1.0))])
    gallery.add(ref="B2", name="Bob", photos=[photo("b2", unit(b=0.6))])
    snapshot = gallery.snapshot(model_sha256=MODEL, preprocess_sha256=PREPROCESS)
    assert snapshot.refs == ("A1", "B2")
    assert snapshot.owners.tolist() == [0, 1, 1]
    assert snapshot.version == 3
    np.testing.assert_array_equal(np.stack([unit(a=1.0), unit(b=1.0), unit(b=0.6)]), snapshot.vectors)


def test_snapshot_by_another_model_tells_to_reembed(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """People whom the model cannot see are never silently forgotten."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    gallery.add(ref="B2", name="Bob", photos=[photo("two", unit(b=1.0), model="c" * 64)])
    with pytest.raises(GalleryError, match=r"1 of 2 people .*: A1\n.*people reembed"):
        gallery.snapshot(model_sha256="c" * 64, preprocess_sha256=PREPROCESS)


def test_two_models_side_by_side(gallery: Gallery, unit: Unit, photo: Maker, embed) -> None:  # noqa: ANN001
    """A new model's embeddings stand beside the old one's, so going back needs nothing."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    (stored,) = gallery.crops()
    gallery.store_embeddings({stored.photo: embed(unit(c=1.0), model="c" * 64)}, expected_version=1)
    old = gallery.snapshot(model_sha256=MODEL, preprocess_sha256=PREPROCESS)
    new = gallery.snapshot(model_sha256="c" * 64, preprocess_sha256=PREPROCESS)
    np.testing.assert_array_equal(unit(a=1.0), old.vectors[0])
    np.testing.assert_array_equal(unit(c=1.0), new.vectors[0])
    assert gallery.person("A1").photos[0].models == (MODEL, "c" * 64)


def test_reembedding_half_of_the_photos_is_refused(gallery: Gallery, unit: Unit, photo: Maker, embed) -> None:  # noqa: ANN001
    """All photos or none."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0)), photo("two", unit(a=0.9))])
    first: Embedding = embed(unit(c=1.0), model="c" * 64)
    with pytest.raises(GalleryError, match="changed by another command"):
        gallery.store_embeddings({1: first}, expected_version=1)


def test_missing_file_says_so(tmp_path: Path) -> None:
    """Reading does not make a register."""
    gallery = Gallery(path=tmp_path / "people.db")
    with pytest.raises(GalleryError, match="No such file"):
        gallery.people()
    assert list(tmp_path.iterdir()) == []


def test_empty_file_is_no_register(tmp_path: Path) -> None:
    """Zero bytes are what a broken copy leaves; SQLite alone would take them for an empty database."""
    path = tmp_path / "people.db"
    path.touch()
    with pytest.raises(GalleryError, match="0 bytes"):
        Gallery(path=path).people()


@pytest.mark.parametrize("content", [b"\0", b"not a register at all\n" * 500, os.urandom(9000)])
def test_foreign_bytes_are_no_register(tmp_path: Path, content: bytes) -> None:
    """Something else in the place of the register is named as such."""
    path = tmp_path / "people.db"
    path.write_bytes(content)
    with pytest.raises(GalleryError, match=r"not a register of people|of another program"):
        Gallery(path=path).people()


def test_sqlite_file_of_another_program_is_refused(tmp_path: Path) -> None:
    """The outbox given as gallery.path is not written to."""
    path = tmp_path / "outbox.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE person (ref TEXT)")
    with pytest.raises(GalleryError, match="another program"):
        Gallery(path=path).people()


def test_foreign_schema_version_is_refused(gallery: Gallery) -> None:
    """A file of a later program is neither read nor changed."""
    with contextlib.closing(sqlite3.connect(gallery.path)) as connection:
        connection.execute("PRAGMA user_version=2")
    with pytest.raises(GalleryError, match="schema version 2; this program knows version 1"):
        gallery.people()
    with pytest.raises(GalleryError, match="schema version 2"):
        gallery.remove("A1")


def test_cut_off_file_never_loads(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """At whatever length a copy broke off: a GalleryError, not half of the people."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0)), photo("two", unit(a=0.9))])
    whole = gallery.path.read_bytes()
    for length in (50, 100, 4096, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        gallery.path.write_bytes(whole[:length])
        with pytest.raises(GalleryError):
            gallery.check()


def test_flipped_bit_in_an_embedding_is_found(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """SQLite does not check contents; the vector's CRC does."""
    new = photo("one", unit(a=0.6, b=0.8))
    gallery.add(ref="A1", name="Ada", photos=[new])
    vector = new.embedding.vector.tobytes()
    content = bytearray(gallery.path.read_bytes())
    content[content.index(vector) + 1] ^= 0x10
    gallery.path.write_bytes(content)
    with pytest.raises(GalleryError, match="an embedding is not what was written"):
        gallery.snapshot(model_sha256=MODEL, preprocess_sha256=PREPROCESS)


def test_damaged_crop_is_found(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """A crop that cannot be decoded is an error, not a black face."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    with contextlib.closing(sqlite3.connect(gallery.path)) as connection:
        connection.execute("UPDATE photo SET crop = zeroblob(40)")
        connection.commit()
    with pytest.raises(GalleryError, match="crop of 40 bytes cannot be read"):
        list(gallery.crops())


def test_crops_of_another_codec_are_not_guessed(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """Encrypted crops come with their codec's name; without the codec they are refused."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    with contextlib.closing(sqlite3.connect(gallery.path)) as connection:
        connection.execute("UPDATE photo SET crop_codec = 'aes-gcm-1'")
        connection.commit()
    with pytest.raises(GalleryError, match="'aes-gcm-1'"):
        list(gallery.crops())


def test_locked_register_says_to_wait(
    gallery: Gallery, unit: Unit, photo: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands at once: the second waits, then says why."""
    monkeypatch.setattr("edge_app.identity.store._BUSY_S", 0.05)
    with contextlib.closing(sqlite3.connect(gallery.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GalleryError, match="being changed by another command"):
            gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    assert gallery.version == 0


def test_read_only_folder(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """It can be read and matched there, and not changed."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    folder = gallery.path.parent
    gallery.path.chmod(0o400)
    folder.chmod(0o500)
    with _without_privilege(folder):
        assert len(gallery.snapshot(model_sha256=MODEL, preprocess_sha256=PREPROCESS).vectors) == 1
        with pytest.raises(GalleryError, match=r"cannot be (written|opened)[\s\S]*owner"):
            gallery.remove("A1")
        with pytest.raises(GalleryError, match="Permission denied"):
            Gallery(path=folder / "other.db").create()
    assert gallery.version == 1


def test_unreadable_file(gallery: Gallery) -> None:
    """Somebody else's register says whom to run as."""
    gallery.path.chmod(0)
    with _without_privilege(gallery.path.parent), pytest.raises(GalleryError, match="cannot be opened"):
        gallery.people()


def test_full_disk_changes_nothing(gallery: Gallery, unit: Unit, photo: Maker) -> None:
    """Writes that the kernel refuses (a file size limit stands in for the full disk) undo the change."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    limit = gallery.path.stat().st_size + 8192
    script = (
        "import sys, resource; sys.path.insert(0, '.');"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "from pathlib import Path; sys.path.insert(0, 'tests/identity');"
        "import numpy as np, power_cut_writer as w; from edge_app.identity.gallery import Gallery;"
        f"Gallery(path=Path({str(gallery.path)!r})).add(ref='B2', name='Bob',"
        " photos=[w._photo(np.random.default_rng(i)) for i in range(3)])"
    )
    assert resource.RLIM_INFINITY == resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "GalleryError: [DSR-500]" in done.stderr
    assert "nothing was changed" in done.stderr
    gallery.check()
    assert ["A1"] == [person.ref for person in gallery.people()]
    assert gallery.version == 1


def test_full_disk_as_sqlite_names_it(
    gallery: Gallery, unit: Unit, photo: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own "disk is full" (reached by its bound on pages) is told with what to do."""
    from edge_app.identity import store

    connect = store._connect

    def bounded(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count=1")  # SQLite raises it to the pages there are
        return connection

    monkeypatch.setattr(store, "_connect", bounded)
    with pytest.raises(GalleryError, match=r"the disk is full[\s\S]*free some space"):
        gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    assert gallery.version == 0


def test_root_gives_a_new_register_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    """What an operator makes with sudo, the service must be able to read."""
    owner = NOBODY if os.geteuid() == 0 else os.geteuid()
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    gallery = Gallery(path=tmp_path / "people.db")
    gallery.create()
    assert owner == gallery.path.stat().st_uid
