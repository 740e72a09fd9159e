"""Bytes that are not as they were: flipped, cut, doubled; and the checksums made right again."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import zipfile
import zlib
from copy import copy
from functools import lru_cache

# What may become of the byte at a place: an exclusive or with a mask, the end of the file, or so
# many bytes from there on twice, or gone (0: all up to the end). The first ones go first.
FIRST = (
    *[("flipped", 1 << bit) for bit in range(8)],
    *[("cut", 0), ("doubled", 1), ("doubled", 2), ("doubled", 16), ("doubled", 0)],
    *[("dropped", 1), ("dropped", 2), ("dropped", 16)],
)
REST = tuple(("flipped", mask) for mask in range(1, 256) if mask & (mask - 1))
STRIDE = 7919  # a prime: places that are tried after one another lie far apart


def place_of(number: int, size: int) -> int:
    """The place of a number: those of ``size`` numbers on end are all places."""
    stride = STRIDE if math.gcd(STRIDE, size) == 1 else 1
    return number * stride % size


def mutated(content: bytes, number: int) -> bytes:
    """Each ``len(content)`` numbers on end change each byte, each time otherwise; when all bytes
    have been changed in all ways, two at once are."""
    size = len(content)
    turn, position = divmod(number, size)
    place = place_of(position, size)
    if turn < len(FIRST):
        return _changed(content, place, *FIRST[(turn + position) % len(FIRST)])
    if turn < len(FIRST) + len(REST):
        return _changed(content, place, *REST[turn - len(FIRST)])
    once = mutated(content, position)
    return mutated(once, turn - len(FIRST) - len(REST)) if once else once


def _changed(content: bytes, place: int, way: str, amount: int) -> bytes:
    """One byte flipped, or bytes from a place on cut, doubled or dropped."""
    before, behind = content[:place], content[place:]
    match way:
        case "flipped":
            return before + bytes([behind[0] ^ amount]) + behind[1:]
        case "cut":
            return before
        case "doubled":
            return before + behind[: amount or None] + behind
        case _:
            return before + behind[amount:]


# Made right again --------------------------------------------------------------------------------


@lru_cache(4)
def _members(content: bytes) -> tuple[list[tuple[zipfile.ZipInfo, bytes]], bytes]:
    """What is in an archive, and its comment."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(one, archive.read(one)) for one in archive.infolist()], archive.comment


def zip_with(content: bytes, number: int) -> bytes:
    """An archive in which one member was changed, with the checksums that then are right."""
    members, comment = _members(content)
    chosen = number % len(members)
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w") as archive:
        for index, (member, bytes_) in enumerate(members):
            changed = mutated(bytes_, number // len(members)) if index == chosen else bytes_
            archive.writestr(copy(member), changed)
        archive.comment = comment
    return new.getvalue()


def checkpoint_with(content: bytes, number: int) -> bytes:
    """A checkpoint in which one member was changed; its last bytes are a checksum."""
    changed = zip_with(content, number)[:-64]
    return changed + hashlib.sha256(changed).hexdigest().encode()


def png_with(content: bytes, number: int) -> bytes:
    """A PNG in which one chunk was changed."""
    chunks, at = [], 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = number % len(chunks)
    name, data = chunks[chosen]
    both = mutated(name + data, number // len(chunks))
    chunks[chosen] = both[:4].ljust(4, b"x"), both[4:]
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
