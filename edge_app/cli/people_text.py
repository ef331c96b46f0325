"""What ``dsr-edge people`` prints: aligned tables for people, JSON for machines."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge_app.identity.views import Coverage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_app.identity.enrol import EnrolReport, PhotoReport
    from edge_app.identity.people import Person, PhotoInfo
    from edge_app.records import Quality


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns, two spaces apart."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def roster_csv(people: Sequence[tuple[str, str]]) -> str:
    """Return ``reference,name`` lines with a header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("reference", "name"))
    writer.writerows(people)
    return buffer.getvalue()


def roster_json(people: Sequence[tuple[str, str]]) -> str:
    """Return a JSON list of objects with ``reference`` and ``name``."""
    rows = [{"reference": ref, "name": name} for ref, name in people]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def report_text(report: EnrolReport) -> str:
    """Return what became of each photo, as a table with the reasons below."""
    rows = [_report_row(photo) for photo in report.photos]
    lines = [table(("PHOTO", "FACE", "QUALITY", "OWN", "NEAREST OTHER", "RESULT"), rows)]
    for photo in report.photos:
        if photo.refused is not None:
            lines.append(f"refused: {photo.refused.what}")
            lines.append(f"  fix: {photo.refused.fix}")
        lines += [f"warning: {photo.path.name} {warning}" for warning in photo.warnings]
    if report.version is not None:
        lines.append(
            f"{report.ref}: {report.added} of {len(report.photos)} photo(s) registered;"
            f" the register is at version {report.version}"
        )
        lines.append(f"{report.ref}: {report.views}")
    return "\n".join(lines)


def report_json(report: EnrolReport) -> dict[str, object]:
    """Return what became of each photo, for machines."""
    photos = [
        {
            "photo": str(photo.path),
            "added": photo.refused is None,
            "reason": None if photo.refused is None else photo.refused.what,
            "fix": None if photo.refused is None else photo.refused.fix,
            "quality": None if photo.quality is None else _quality_json(photo.quality),
            "nearest_ref": photo.nearest_ref,
            "nearest_score": photo.nearest_score,
            "own_score": photo.own_score,
            "warnings": list(photo.warnings),
        }
        for photo in report.photos
    ]
    return {
        "ref": report.ref,
        "version": report.version,
        "added": report.added,
        "views": views_json(report.views),
        "photos": photos,
    }


def views_json(views: Coverage) -> dict[str, list[str]]:
    """Return from which sides somebody is registered and which are missing, for machines."""
    return {"have": [view.value for view in views.have], "missing": [view.value for view in views.missing]}


def person_json(person: Person) -> dict[str, object]:
    """Return a person and their photos, for machines."""
    photos = [
        {
            "source": photo.source_name,
            "sha256": photo.source_sha256,
            "quality": _quality_json(photo.quality),
            "crop": photo.has_crop,
            "models": list(photo.models),
            "added_ms": photo.added_ms,
        }
        for photo in person.photos
    ]
    views = Coverage.of([photo.quality for photo in person.photos])
    return {
        "ref": person.ref,
        "name": person.name,
        "added_ms": person.added_ms,
        "views": views_json(views),
        "photos": photos,
    }


def photo_row(photo: PhotoInfo) -> tuple[str, ...]:
    """Return one line of a person's photos."""
    quality = photo.quality
    return (
        photo.source_name,
        f"{quality.face_px:.0f} px",
        f"{quality.score:.2f}",
        f"{quality.yaw:+.0f}",
        f"{quality.pitch:+.0f}",
        "kept" if photo.has_crop else "-",
        ",".join(model[:8] for model in photo.models),
        date_text(photo.added_ms),
    )


def best_quality(person: Person) -> str:
    """Return the quality of a person's best photo."""
    return f"{max((photo.quality.score for photo in person.photos), default=0.0):.2f}"


def date_text(ms: int | None) -> str:
    """Return a UTC date; a photo may be undated, because the box had no wall clock."""
    if ms is None:
        return "undated"
    return datetime.fromtimestamp(ms / 1000, tz=timezone.utc).strftime("%Y-%m-%d %H:%M")


def _report_row(photo: PhotoReport) -> tuple[str, ...]:
    nearest = "-" if photo.nearest_score is None else f"{photo.nearest_ref} {photo.nearest_score:.2f}"
    own = "-" if photo.own_score is None else f"{photo.own_score:.2f}"
    quality = photo.quality
    face, score = ("-", "-") if quality is None else (f"{quality.face_px:.0f} px", f"{quality.score:.2f}")
    return photo.path.name, face, score, own, nearest, "added" if photo.refused is None else "refused"


def _quality_json(quality: Quality) -> dict[str, object]:
    names = ("face_px", "sharpness", "brightness", "contrast", "yaw", "pitch", "roll", "score")
    numbers: dict[str, object] = {name: round(float(getattr(quality, name)), 4) for name in names}
    return numbers | {"rejection": None if quality.rejection is None else quality.rejection.value}
