from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_app.identity.checks import Checks, Finding, Neighbours
from edge_app.identity.snapshot import GallerySnapshot
from edge_app.records import Embedding

Vector = npt.NDArray[np.float32]
Unit = Callable[..., Vector]
THRESHOLD = 0.5


def _judge(
    registered: dict[str, list[Vector]],
    batch: list[Vector],
    *,
    ref: str = "A",
    allow_lookalike: bool = False,
    allow_unlike: bool = False,
) -> list[Finding]:
    refs = tuple(sorted(registered))
    rows = [(number, vector) for number, name in enumerate(refs) for vector in registered[name]]
    snapshot = GallerySnapshot(
        "g",
        1,
        refs,
        np.stack([vector for _, vector in rows]) if rows else np.zeros((0, 0), np.float32),
        np.array([number for number, _ in rows], np.intp),
        "m",
        "p",
    )
    checks = Checks(
        neighbours=Neighbours(
            ref=ref, snapshot=snapshot, batch=[Embedding(vector, "m", "p") for vector in batch]
        ),
        threshold=THRESHOLD,
        allow_lookalike=allow_lookalike,
        allow_unlike=allow_unlike,
    )
    return [checks.photo(index, f"{index}.jpg") for index in range(len(batch))]


def _refusals(findings: list[Finding]) -> list[str | None]:
    return [None if finding.refused is None else finding.refused.what for finding in findings]


def test_first_person_of_an_empty_register(unit: Unit) -> None:
    """Nobody to be compared with: registered, without numbers."""
    (found,) = _judge({}, [unit(a=1.0)])
    assert found == Finding(None, None, None, None, ())


def test_nearest_other_person_is_shown(unit: Unit) -> None:
    """Also when all is well."""
    (found,) = _judge({"B": [unit(b=1.0)], "C": [unit(c=1.0)]}, [unit(a=0.8, b=0.2, c=0.3)])
    assert found.refused is None
    assert found.nearest_ref == "C"
    assert found.nearest_score is not None
    assert abs(found.nearest_score - 0.3) < 1e-6


def test_copies_within_a_command_are_refused_once(unit: Unit) -> None:
    """The first of two equal pictures (saved again, so the files differ) is registered."""
    assert [None, "1.jpg is a copy of another photo of this person"] == _refusals(
        _judge({}, [unit(a=1.0), unit(a=0.99999)])
    )


def test_copy_of_a_registered_photo_is_refused(unit: Unit) -> None:
    """The person's own."""
    (found,) = _judge({"A": [unit(a=1.0)]}, [unit(a=0.99999)])
    assert found.refused is not None
    assert "copy of another photo of this person" in found.refused.what


def test_copy_of_somebody_elses_photo_is_refused_whatever_is_allowed(unit: Unit) -> None:
    """One picture cannot be two people."""
    (found,) = _judge({"B": [unit(a=1.0)]}, [unit(a=0.99999)], allow_lookalike=True, allow_unlike=True)
    assert found.refused is not None
    assert "copy of a photo that is registered for B" in found.refused.what


def test_look_alike_is_refused_by_name_and_can_be_allowed(unit: Unit) -> None:
    """As similar to B as the box needs to call her B."""
    twin = [unit(a=0.7, b=0.6)]
    (refused,) = _judge({"B": [unit(b=1.0)]}, twin)
    assert refused.refused is not None
    assert "looks like B to the box (0.60, named from 0.50)" in refused.refused.what
    assert "--allow-lookalike" in refused.refused.fix
    (allowed,) = _judge({"B": [unit(b=1.0)]}, twin, allow_lookalike=True)
    assert allowed.refused is None
    assert "twice the usual lead" in allowed.warnings[0]


def test_wrong_persons_photo_in_a_batch_is_refused(unit: Unit) -> None:
    """Two of Ada and one of Bob, who is registered but whom this photo resembles little."""
    batch = [unit(a=0.9), unit(a=0.8, e=0.3), unit(b=0.4, d=0.9)]
    findings = _judge({"B": [unit(b=1.0)]}, batch)
    assert findings[0].refused is None
    assert findings[1].refused is None
    assert findings[2].refused is not None
    assert "more like B (0.40)" in findings[2].refused.what


def test_odd_one_out_is_refused_without_a_register(unit: Unit) -> None:
    """Nobody else is registered, but two photos agree and the third is unlike both."""
    findings = _judge({}, [unit(c=0.9, d=0.3), unit(a=0.9, e=0.2), unit(a=0.8, f=0.3)])
    assert findings[0].refused is not None
    assert "unlike all of this person's other photos" in findings[0].refused.what
    assert [None, None] == _refusals(findings[1:])
    allowed = _judge({}, [unit(c=0.9, d=0.3), unit(a=0.9), unit(a=0.8, f=0.3)], allow_unlike=True)
    assert [None] * 3 == _refusals(allowed)
    assert "unlike" in allowed[0].warnings[0]


def test_strangers_photo_somewhat_like_the_person_is_refused(unit: Unit) -> None:
    """Strangers are seldom at right angles: well below the threshold is no likeness."""
    findings = _judge({}, [unit(a=1.0), unit(a=0.9, c=0.2), unit(a=0.9, d=0.3), unit(a=0.3, b=0.95)])
    assert [None] * 3 == _refusals(findings[:3])
    assert findings[3].refused is not None
    assert "unlike all of this person's other photos" in findings[3].refused.what


def test_two_photos_that_disagree_only_warn(unit: Unit) -> None:
    """Which of the two is wrong cannot be told; perhaps none: front and profile."""
    findings = _judge({}, [unit(a=0.9, c=0.43), unit(b=0.9, d=0.43)])
    assert [None, None] == _refusals(findings)
    assert all("add more photos" in found.warnings[0] for found in findings)


def test_profile_somewhat_like_the_front_is_kept_with_a_warning(unit: Unit) -> None:
    """Below the threshold but not nobody's: the views that a guided registration asks for."""
    findings = _judge({"B": [unit(b=1.0)]}, [unit(a=1.0), unit(a=0.9), unit(a=0.4, b=0.1, c=0.9)])
    assert [None] * 3 == _refusals(findings)
    assert "is little like" in findings[2].warnings[0]
    assert findings[0].warnings == ()


def test_refused_photo_does_not_vouch_for_others(unit: Unit) -> None:
    """A look-alike that was refused is not one of the person's photos for the next check."""
    findings = _judge({"B": [unit(b=1.0)]}, [unit(b=0.9, e=0.4), unit(a=0.9, e=0.4)])
    assert findings[0].refused is not None
    assert findings[1].own_score is None


def test_registered_photos_count_as_the_persons_own(unit: Unit) -> None:
    """A later command is checked against the photos of the earlier ones."""
    registered = {"A": [unit(a=1.0), unit(a=0.9)], "B": [unit(b=1.0)]}
    (found,) = _judge(registered, [unit(b=0.45, d=0.8)])
    assert found.refused is not None
    assert "more like B" in found.refused.what
    (found,) = _judge(registered, [unit(a=0.7)])
    assert found.refused is None
    assert found.own_score is not None
    assert found.own_score > THRESHOLD
