"""Whether an animated GIF is whole: FFmpeg plays a damaged one as far as it likes and says nothing.

Only the structure is walked (GIF89a specification, appendix B): a header, then extensions and images, each a
chain of sub-blocks, up to the trailer. Damage within a picture's own data does not break it, and shows as a
smear in that picture.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SIGNATURES: Final = (b"GIF87a", b"GIF89a")
_HEADER, _IMAGE_HEADER = 13, 10
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def breaks_at(path: Path) -> int | None:
    """Return the byte at which a GIF's structure breaks, None if it is whole, or no GIF.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(6) not in _SIGNATURES:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _walk(content)


def _walk(content: mmap.mmap) -> int | None:
    at = _HEADER
    try:
        at += _colours(content[_HEADER - 3])
        while (kind := content[at]) != _TRAILER:
            if kind == _EXTENSION:
                begins = at + 2
            elif kind == _IMAGE:
                begins = at + _IMAGE_HEADER + _colours(content[at + _IMAGE_HEADER - 1]) + 1
            else:
                return at
            at = _after_blocks(content, begins)
    except IndexError:
        return len(content)
    return None


def _colours(flags: int) -> int:
    """Return the bytes of the colour table that a descriptor's `flags` announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(content: mmap.mmap, at: int) -> int:
    """Return where a chain of sub-blocks ends that begins `at`."""
    while size := content[at]:
        at += size + 1
    return at + 1
