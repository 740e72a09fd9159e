"""The environment variables that steer where data comes from: read as ``settings`` reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from convmill.data import DataError
from convmill.data.obtain import obtain
from convmill.data.sources import places
from tests.data.tiny import Server, Tiny


def test_offline_that_is_neither(
    tiny: Tiny, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tiny.with_mirrors(server.serve_npz(tiny.npz))
    monkeypatch.setenv("CONVMILL_OFFLINE", "maybe")
    with pytest.raises(DataError, match=r"must be 0 or 1\. Received: CONVMILL_OFFLINE='maybe'"):
        obtain(known)
    assert server.seen == []


def test_the_data_folder_may_begin_with_a_tilde(
    tiny: Tiny, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONVMILL_DATA", "~/own")
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    assert places(tiny.known)[0].path == tmp_path / "own" / tiny.known.name
    with pytest.raises(DataError) as caught:
        obtain(tiny.known)
    assert f"into {tmp_path / 'own' / tiny.known.name}\n" in str(caught.value)
