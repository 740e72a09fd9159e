"""A checksum at the end of a file of weights, behind what HDF5 reads of it.

HDF5 has none of its own: a bit that flips on the way is a wrong weight and no error. Keras reads
such a file as any other.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_MARK = b"\nconvmill sha256 "
_LENGTH = len(_MARK) + hashlib.sha256().digest_size * 2


def sealed(content: bytes) -> bytes:
    """``content`` with its checksum behind it."""
    return content + _MARK + hashlib.sha256(content).hexdigest().encode()


def is_whole(path: Path) -> bool:
    """Whether a file is as it was written; True for one that has no checksum. OSError where it
    cannot be read."""
    content = path.read_bytes()
    end = content[-_LENGTH:]
    if not end.startswith(_MARK):
        return True
    digest = hashlib.sha256(memoryview(content)[:-_LENGTH]).hexdigest()
    return end[len(_MARK) :] == digest.encode()
