"""Where a known set is looked for, in which order, and what is said when it is nowhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convmill.data import DataError, check, fetch, load, load_named
from convmill.data.files import KnownSet
from convmill.data.obtain import obtain
from tests.data.tiny import Server, Tiny, sends

Register = Callable[[KnownSet], KnownSet]


def write_npz(tiny: Tiny, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiny.npz)
    return path


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


def test_order_of_places(
    tiny: Tiny,
    server: Server,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    register: Register,
) -> None:
    known = register(tiny.with_mirrors(server.serve_idx(tiny.packed)))
    given = tiny.write(tmp_path / "given", packed=False)
    own = tiny.write(tmp_path / "own" / "tiny")
    npz = write_npz(tiny, cache / "tiny.npz")
    folder = tiny.write(cache / "tiny")
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path / "own"))

    assert load_named("tiny", given).source == str(given)
    assert obtain(known)[0] == own
    monkeypatch.delenv("CONVMILL_DATA")
    assert obtain(known)[0] == npz
    npz.unlink()
    assert obtain(known)[0] == folder
    assert server.seen == []
    shutil.rmtree(folder)
    assert obtain(known)[0] == folder
    assert len(server.seen) == 4


@pytest.mark.parametrize("form", ["plain", "packed", "npz", "repacked npz"])
def test_every_form_gives_the_same_arrays(
    tiny: Tiny, cache: Path, tmp_path: Path, register: Register, form: str
) -> None:
    register(tiny.known)
    if form == "npz":
        path = write_npz(tiny, tmp_path / "x.npz")
    elif form == "repacked npz":
        path = tmp_path / "x.npz"
        names = ("x_train", "y_train", "x_test", "y_test")
        np.savez(path, **dict(zip(names, tiny.arrays, strict=True)))
    else:
        path = tiny.write(tmp_path / "x", packed=form == "packed")
    data = load_named("tiny", path)
    got = (data.x_train, data.y_train, data.x_test, data.y_test)
    for mine, wanted in zip(got, tiny.arrays, strict=True):
        np.testing.assert_array_equal(mine, wanted)
        assert mine.dtype == np.uint8
    assert data.class_names == ("a", "b", "c")
    assert data.image_shape == (6, 5)


def test_keras_spelling_of_the_folder_is_taken_too(
    tiny: Tiny, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(tiny.known, cache_folder="ti-ny")
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path))
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    tiny.write(tmp_path / "ti-ny")
    assert obtain(known)[0] == tmp_path / "ti-ny"


def test_bare_npz_name_means_the_cache_as_in_keras(
    tiny: Tiny, cache: Path, register: Register
) -> None:
    register(tiny.known)
    npz = write_npz(tiny, cache / "tiny.npz")
    assert load_named("tiny", "tiny.npz").source == str(npz)
    npz.rename(cache / "other.npz")
    assert load_named("tiny", "other.npz").source == str(cache / "other.npz")


@pytest.mark.parametrize("packed", [False, True])
def test_wrong_data_that_the_user_chose_is_an_error(
    tiny: Tiny,
    server: Server,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    packed: bool,
) -> None:
    known = tiny.with_mirrors(server.serve_idx(tiny.packed))
    folder = tiny.write(tmp_path / "own" / "tiny", packed=packed)
    broken = folder / f"{known.files[1].name}{'.gz' if packed else ''}"
    damage(broken)
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path / "own"))
    with pytest.raises(DataError) as caught:
        obtain(known)
    assert str(caught.value).startswith(f"{broken}: ")
    assert server.seen == []


def test_wrong_npz_in_the_cache_is_passed_over(tiny: Tiny, server: Server, cache: Path) -> None:
    known = tiny.with_mirrors(server.serve_npz(tiny.npz))
    write_npz(tiny, cache / "tiny.npz")
    damage(cache / "tiny.npz")
    path, arrays = obtain(known)
    assert path.read_bytes() == tiny.npz
    np.testing.assert_array_equal(arrays[0], tiny.arrays[0])
    assert server.seen == ["/npz/tiny.npz"]


def test_incomplete_folder_is_passed_over_and_said(
    tiny: Tiny, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.write(tmp_path / "tiny")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path))
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    with pytest.raises(DataError, match=r"tiny: no t10k-labels-idx1-ubyte \(plain or \.gz\)"):
        obtain(tiny.known)


def test_offline_error_says_all_that_is_needed(
    tiny: Tiny, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = server.serve_npz(tiny.npz)
    del server.answers["/npz/tiny.npz"]
    known = tiny.with_mirrors(mirror)
    with pytest.raises(DataError) as caught:
        obtain(known)
    text = str(caught.value)
    assert f"{mirror.url}: HTTP 404" in text
    assert "$CONVMILL_DATA: not set" in text
    assert f"{cache / 'tiny.npz'}: not there" in text
    for file in known.files:
        assert f"{file.name}.gz  sha256 {file.content_sha256} when unpacked" in text
    assert known.archive is not None
    assert known.archive.sha256 in text
    assert f"into {cache / 'tiny'}" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        *[("0", True), ("", True), ("false", True), ("no", True), ("Off", True)],
        *[("1", False), ("true", False), ("YES", False), (" 1 ", False)],
    ],
)
def test_offline_switch(
    tiny: Tiny,
    server: Server,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    asked: bool,
) -> None:
    known = tiny.with_mirrors(server.serve_npz(tiny.npz))
    monkeypatch.setenv("CONVMILL_OFFLINE", value)
    if asked:
        obtain(known)
    else:
        with pytest.raises(DataError, match="CONVMILL_OFFLINE is set"):
            obtain(known)
    assert bool(server.seen) == asked


def test_explicit_path_to_nothing(tiny: Tiny, cache: Path, register: Register) -> None:
    register(tiny.known)
    with pytest.raises(DataError, match=r"Received: path='no/such/place'"):
        load_named("tiny", "no/such/place")


def test_fetch_check_and_load_by_name(
    tiny: Tiny, server: Server, cache: Path, register: Register
) -> None:
    register(tiny.with_mirrors(server.serve_idx(tiny.packed)))
    before = check("tiny")
    assert not before.ok
    assert {file.state for file in before.files} == {"missing"}
    assert fetch("tiny") == str(cache / "tiny")
    assert fetch("tiny") == str(cache / "tiny")
    assert len(server.seen) == 4
    assert load("Tiny").x_train.shape == (30, 6, 5)
    after = check("tiny")
    assert after.ok
    assert [file.state for file in after.files] == ["right"] * 4

    damage(cache / "tiny" / "t10k-images-idx3-ubyte.gz")
    broken = check("tiny")
    assert not broken.ok
    assert [file.state for file in broken.files] == ["right", "right", "wrong", "right"]
    assert str(broken.files[2].path) in broken.files[2].detail


def test_check_of_an_npz(tiny: Tiny, cache: Path, register: Register) -> None:
    register(tiny.known)
    write_npz(tiny, cache / "tiny.npz")
    assert check("tiny").ok
    damage(cache / "tiny.npz")
    assert not check("tiny").ok


def test_set_with_hashes_of_packed_files_only(
    tiny: Tiny, cache: Path, tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(tiny.hashed_packed())
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path))
    folder = tiny.write(tmp_path / "tiny")
    assert [file.state for file in check("tiny").files] == ["right"] * 4
    shutil.rmtree(folder)
    tiny.write(folder, packed=False)
    assert [file.state for file in check("tiny").files] == ["unverified"] * 4
    assert load("tiny").x_test.shape == (12, 6, 5)


def test_download_of_html_never_reaches_the_caller(tiny: Tiny, server: Server, cache: Path) -> None:
    known = tiny.with_mirrors(server.serve_npz(b""))
    server.answers["/npz/tiny.npz"] = sends(b"<html><body>Welcome to our hotel</body></html>")
    with pytest.raises(DataError, match="an HTML page instead of data"):
        obtain(known)
