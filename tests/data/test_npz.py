"""Hostile and damaged .npz files."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convmill.data import DataError
from convmill.data.npz import read_npz


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write_npz(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_reads_in_the_order_asked(tmp_path: Path) -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], dtype=np.int64)
    np.savez(tmp_path / "x.npz", a=a, b=b)
    got_b, got_a = read_npz(tmp_path / "x.npz", ["b", "a"])
    np.testing.assert_array_equal(got_a, a)
    np.testing.assert_array_equal(got_b, b)


class Spy:
    """Leaves a file when unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_never_unpickles(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([Spy(str(trace))], dtype=object))
    with pytest.raises(DataError, match="pickle"):
        read_npz(path, ["a"])
    assert not trace.exists()


def test_missing_key_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"y_train\.npy is missing\.\nReceived: a\.npy"):
        read_npz(tmp_path / "x.npz", ["y_train"])


def test_shape_is_checked_before_unpacking(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "x.npz", {"a.npy": npy(np.zeros(50_000_000, dtype=np.uint8))})
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"must be uint8 \(3,\)"):
            read_npz(path, ["a"], [(3,)])
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_dtype_is_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(DataError, match="must be uint8"):
        read_npz(tmp_path / "x.npz", ["a"], [(3,)])


def test_false_header_is_refused(tmp_path: Path) -> None:
    true = npy(np.zeros(99_999, dtype=np.uint8))
    huge = true.replace(b"(99999,)", b"(9e99,)").replace(b"(9e99,)", b"(99**9,)")
    path = write_npz(tmp_path / "x.npz", {"a.npy": huge})
    with pytest.raises(DataError, match="damaged"):
        read_npz(path, ["a"])
    longer = true.replace(b"(99999,), }  ", b"(9999999,), }")
    path = write_npz(tmp_path / "y.npz", {"a.npy": longer})
    with pytest.raises(DataError, match="promises 9,999,999 bytes"):
        read_npz(path, ["a"])


@pytest.mark.parametrize("wrong", ["¬99,)".encode("latin1"), b"(Name,)", b"((((((((", b"(99999', "])
def test_a_header_that_is_no_header_is_refused(tmp_path: Path, wrong: bytes) -> None:
    """NumPy raises errors of all kinds, some with addresses in them."""
    true = npy(np.zeros(99_999, dtype=np.uint8))
    members = {"a.npy": true.replace(b"(99999,)", wrong.ljust(8))}
    with pytest.raises(DataError, match=r"damaged, or no \.npz file") as raised:
        read_npz(write_npz(tmp_path / "x.npz", members), ["a"])
    assert " at 0x" not in str(raised.value)


def test_bomb_of_unknown_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmill.data.npz.OWN_DATA_LIMIT", 1_000)
    path = write_npz(tmp_path / "x.npz", {"a.npy": npy(np.zeros(1_001, dtype=np.uint8))})
    with pytest.raises(DataError, match="1,000 is the limit"):
        read_npz(path, ["a"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"<html></html>", b"\x80\x04K\x01."])
def test_no_zip_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged, or no"):
        read_npz(path, ["a"])


def test_flipped_byte_is_found(tmp_path: Path) -> None:
    items = np.random.default_rng(0).integers(0, 256, 1_000, dtype=np.uint8)
    path = write_npz(tmp_path / "x.npz", {"a.npy": npy(items)})
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_npz(path, ["a"])


def test_members_with_evil_names_are_never_written(tmp_path: Path) -> None:
    members = {"../evil.npy": b"x", "/evil.npy": b"x", "a.npy": npy(np.zeros(3))}
    folder = tmp_path / "folder"
    folder.mkdir()
    path = write_npz(folder / "x.npz", members)
    np.testing.assert_array_equal(read_npz(path, ["a"])[0], np.zeros(3))
    assert [each.name for each in tmp_path.rglob("*")] == ["folder", "x.npz"]


def test_no_such_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(tmp_path / "none.npz", ["a"])
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(tmp_path, ["a"])
