"""Bytes that are not as they were: flipped, cut, doubled; and the checksums made right again."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import zipfile
import zlib

import numpy as np

MUTATIONS = ("bit", "byte", "cut", "doubled", "dropped")
STRIDE = 7919  # a prime: places that are tried after one another lie far apart


def place_of(number: int, size: int) -> int:
    """The place of a number: those of ``size`` numbers on end are all places."""
    stride = STRIDE if math.gcd(STRIDE, size) == 1 else 1
    return number * stride % size


def mutated(content: bytes, number: int) -> bytes:
    """Each ``len(content)`` numbers on end change each byte, in one of the ways in turn."""
    size = len(content)
    turn, place = number // size, place_of(number, size)
    rng = np.random.default_rng(number)
    before, byte, behind = content[:place], content[place], content[place + 1 :]
    length = int(rng.choice((1, 2, 16, size)))
    match MUTATIONS[(turn + number) % len(MUTATIONS)]:
        case "bit":
            return before + bytes([byte ^ 1 << int(rng.integers(8))]) + behind
        case "byte":
            return before + bytes([(byte + int(rng.integers(1, 256))) % 256]) + behind
        case "cut":
            return before
        case "doubled":
            return content[: place + length] + content[place:]
        case _:
            return before + content[place + length :]


# Made right again --------------------------------------------------------------------------------


def zip_with(content: bytes, number: int) -> bytes:
    """An archive in which one member was changed, with the checksums that then are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(one, archive.read(one)) for one in archive.infolist()]
        comment = archive.comment
    chosen = number % len(members)
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w") as archive:
        for index, (member, bytes_) in enumerate(members):
            changed = mutated(bytes_, number // len(members)) if index == chosen else bytes_
            archive.writestr(member, changed)
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
