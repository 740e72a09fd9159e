"""IDX files: whole ones are read, every kind of damage is refused with a clear error."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from convmill.data import DataError
from convmill.data.idx import idx_header, idx_sha256, read_idx

ITEMS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
PLAIN = idx_header(ITEMS.shape) + ITEMS.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_reads_plain_and_packed(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "items"
    path.write_bytes(gzip.compress(PLAIN) if packed else PLAIN)
    array = read_idx(path, (2, 3, 4))
    np.testing.assert_array_equal(array, ITEMS)
    assert array.dtype == np.uint8
    assert array.flags.writeable


def test_header_is_the_published_one() -> None:
    # The first 16 bytes of MNIST's training images.
    assert idx_header((60_000, 28, 28)).hex() == "00000803" + "0000ea60" + "0000001c" * 2


def test_hash_is_that_of_the_plain_file() -> None:
    assert idx_sha256(ITEMS) == hashlib.sha256(PLAIN).hexdigest()
    assert idx_sha256(ITEMS[:, ::2]) != hashlib.sha256(PLAIN).hexdigest()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an IDX file"),
        (b"<!DOCTYPE html><html>", "looks like an HTML page"),
        (b"\x00\x00\x0d\x03" + PLAIN[4:], "not an IDX file of unsigned bytes"),
        (b"\x00\x00\x08\x00", "not an IDX file"),
        (PLAIN[:9], "cut short within its header"),
        (PLAIN[:-1], "Received: 23 bytes"),
        (PLAIN + b"\x00", "Received: more"),
        (gzip.compress(PLAIN)[:-9], "cut short"),
        (gzip.compress(PLAIN)[:-4] + b"\x00\x00\x00\x07", "damaged"),
        (gzip.compress(PLAIN)[:10] + b"\x07" * 20, "damaged"),
        (gzip.compress(PLAIN[:-1]), "Received: 23 bytes"),
        (gzip.compress(PLAIN + b"\x00"), "Received: more"),
        (idx_header((2**32 - 1,) * 4), "more than it can hold"),
        (gzip.compress(idx_header((2**31, 2**31))), "more than it can hold"),
    ],
    # Not the content: gzip puts the time into it, and test processes must agree on the names.
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_refuses_damage(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "items"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_refuses_another_shape(tmp_path: Path) -> None:
    path = tmp_path / "items"
    path.write_bytes(PLAIN)
    with pytest.raises(DataError, match=r"must say \(2, 3, 5\)\.\nReceived: \(2, 3, 4\)"):
        read_idx(path, (2, 3, 5))


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)


def test_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(PLAIN + bytes(50_000_000), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="Received: more"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
