"""A checksum at the end of an HDF5 file, behind what HDF5 reads of it.

HDF5 has none of its own: a bit that flips on the way is a wrong weight and no error. Keras reads
such a file as any other.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_MARK = b"\nconvmill sha256 "
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = 48  # bytes of the smallest one
_LENGTH = len(_MARK) + hashlib.sha256().digest_size * 2


def sealed(content: bytes) -> bytes:
    """``content`` with its checksum behind it."""
    return content + _MARK + hashlib.sha256(content).hexdigest().encode()


def is_whole(path: Path) -> bool | None:
    """Whether a file is as it was written; None for one that has no checksum: nothing, or zeros,
    behind what HDF5 reads. OSError where it cannot be read."""
    content = path.read_bytes()
    end = content[-_LENGTH:]
    if not end.startswith(_MARK):
        return False if any(content[_end_of_hdf5(content) :]) else None
    digest = hashlib.sha256(memoryview(content)[:-_LENGTH]).hexdigest()
    return end[len(_MARK) :] == digest.encode()


def _end_of_hdf5(content: bytes) -> int:
    """Where HDF5's part of a file ends, as its superblock says (HDF5 File Format Specification
    3.0, II.A): behind two other addresses. The end of what is no such file."""
    if not content.startswith(_SIGNATURE) or len(content) < _SUPERBLOCK:
        return len(content)
    version = content[8]
    size = content[13 if version < 2 else 9]
    at = {0: 24, 1: 28}.get(version, 12) + 2 * size
    return int.from_bytes(content[at : at + size], "little")
