"""The user's own data: .npz, IDX folders, folders of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convmill.data import DataError, load, load_folder
from tests.data.tiny import Tiny


def write_pictures(
    root: Path, counts: dict[str, int], mode: str = "L", size: tuple[int, int] = (7, 5)
) -> None:
    """`size` is (width, height). Each picture is filled with its own number."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new(mode, size, number).save(root / name / f"{number:03}.png")


def npz(path: Path, **changed: np.ndarray) -> Path:
    arrays = {
        "x_train": np.zeros((4, 6, 5), dtype=np.float32),
        "y_train": np.array([0, 1, 2, 1]),
        "x_test": np.zeros((2, 6, 5), dtype=np.float32),
        "y_test": np.array([0, 2]),
    }
    np.savez(path, **(arrays | changed))
    return path


def holding(value: float, images: int) -> np.ndarray:
    """Images of zeros, and one other value."""
    x = np.zeros((images, 6, 5))
    x[1, 2, 3] = value
    return x


def test_npz(tmp_path: Path) -> None:
    data = load(npz(tmp_path / "x.npz"))
    assert data.x_train.dtype == np.float32
    assert data.class_names == ("0", "1", "2")
    assert data.source == str(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"y_train": np.array([0, 1, 2])}, r"one integer label .* 4 images\.\nReceived: shape"),
        ({"y_train": np.array([0, -1, 2, 1])}, "label -1 at index 1"),
        ({"y_test": np.array([0.0, np.nan])}, "y_test must hold whole numbers"),
        ({"y_test": np.array([], dtype=int)}, "y_test must hold whole numbers, at least one"),
        ({"y_test": np.array([0, 2**40])}, "labels must lie in 0..99999"),
        ({"x_test": np.zeros((2, 6, 6))}, "differ in size"),
        ({"x_test": np.zeros((2, 30))}, "the images must be numbers of shape"),
        ({"x_train": np.zeros((4, 0, 5))}, "the images must be numbers of shape"),
        ({"x_train": np.full((4, 6, 5), "a")}, "the images must be numbers"),
        ({"x_train": np.zeros((4, 6, 5), dtype=complex)}, "the images must be numbers"),
        (
            {"x_train": holding(np.nan, 4)},
            r"x\.npz, train part: x_train .* x_train\[1, 2, 3\] = nan",
        ),
        ({"x_test": holding(np.inf, 2)}, r"x\.npz, test part: x_test .* x_test\[1, 2, 3\] = inf"),
        ({"x_test": holding(1e39, 2)}, r"x_test must hold finite numbers that float32 can hold"),
    ],
)
def test_npz_with_wrong_arrays(
    tmp_path: Path, changed: dict[str, np.ndarray], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        load(npz(tmp_path / "x.npz", **changed))


def test_idx_folder(tiny: Tiny, tmp_path: Path) -> None:
    data = load(str(tiny.write(tmp_path / "mine")))
    assert data.x_train.shape == (30, 6, 5)
    assert data.class_names == ("0", "1", "2")


def test_idx_folder_with_a_file_missing(tiny: Tiny, tmp_path: Path) -> None:
    tiny.write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: cannot be read"):
        load(tmp_path)


def test_idx_folder_whose_counts_differ(tiny: Tiny, tmp_path: Path) -> None:
    tiny.write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(tiny.packed[3])
    with pytest.raises(DataError, match="one integer label for each of the 30 images"):
        load(tmp_path)


def test_neither_npz_nor_folder(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2,3")
    with pytest.raises(DataError, match="Own data must be"):
        load(tmp_path / "x.csv")


def test_pictures_divided_by_us(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"cat": 10, "ant": 10})
    data = load(tmp_path)
    assert data.class_names == ("ant", "cat")
    assert data.x_train.shape == (16, 5, 7)
    assert data.x_test.shape == (4, 5, 7)
    assert np.bincount(data.y_test).tolist() == [2, 2]
    everything = [*data.x_train[:, 0, 0], *data.x_test[:, 0, 0]]
    assert sorted(everything) == sorted([*range(10), *range(10)])
    again = load(tmp_path)
    np.testing.assert_array_equal(again.x_train, data.x_train)


def test_pictures_divided_by_the_user(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", {"a": 3, "b": 1}, mode="RGB")
    write_pictures(tmp_path / "test", {"a": 1, "b": 2}, mode="RGB")
    data = load_folder(tmp_path)
    assert data.x_train.shape == (4, 5, 7, 3)
    assert data.y_train.tolist() == [0, 0, 0, 1]
    assert data.y_test.tolist() == [0, 1, 1]


def test_classes_that_differ(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", {"a": 3, "b": 1})
    write_pictures(tmp_path / "test", {"a": 1, "c": 2})
    with pytest.raises(DataError, match="only in one of them: b, c"):
        load_folder(tmp_path)


@pytest.mark.parametrize(("mode", "size"), [("L", (7, 6)), ("RGB", (7, 5))])
def test_odd_picture_is_named(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    write_pictures(tmp_path, {"a": 4, "b": 4})
    Image.new(mode, size).save(tmp_path / "b" / "002.png")
    Image.new(mode, size).save(tmp_path / "b" / "003.png")
    with pytest.raises(DataError, match="2 of 8 images cannot be used") as caught:
        load_folder(tmp_path)
    for name in ("002.png", "003.png"):
        assert f"{tmp_path / 'b' / name} differs from {tmp_path / 'a' / '000.png'}: " in (
            str(caught.value)
        )


def test_transparency_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"a": 4}, mode="RGBA")
    with pytest.raises(DataError, match="Received: mode RGBA"):
        load_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n cut"])
def test_damaged_picture_is_named(tmp_path: Path, content: bytes) -> None:
    write_pictures(tmp_path, {"a": 4})
    (tmp_path / "a" / "001.png").write_bytes(content)
    with pytest.raises(DataError, match=r"001\.png: cannot be read as a picture"):
        load_folder(tmp_path)


def test_picture_cut_short(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"a": 4}, size=(70, 50))
    path = tmp_path / "a" / "001.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"001\.png: cannot be read as a picture"):
        load_folder(tmp_path)


def test_too_few_and_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures found"):
        load_folder(tmp_path)
    write_pictures(tmp_path, {"a": 4, "b": 1})
    with pytest.raises(DataError, match="fewer in b"):
        load_folder(tmp_path)


@pytest.mark.parametrize("ending", ["JPG", "jpeg", "bmp", "gif"])
def test_twenty_pictures_of_other_kinds(tmp_path: Path, ending: str) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("L", (8, 8), 25 * number).save(tmp_path / name / f"{number}.{ending}")
        (tmp_path / name / "notes.txt").write_text("passed over")
    data = load_folder(tmp_path)
    assert (len(data.x_train), len(data.x_test)) == (16, 4)
