"""Fixtures: the tiny set, its server, an empty cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convmill.data.files import KnownSet
from convmill.data.known import KNOWN_SETS
from tests.data.tiny import Server, Tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no CONVMILL_DATA."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("CONVMILL_DATA", raising=False)
    return tmp_path / "keras" / "datasets"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[KnownSet], KnownSet]:
    """Makes a set known by its name for one test."""

    def add(known: KnownSet) -> KnownSet:
        monkeypatch.setitem(KNOWN_SETS, known.name, known)
        return known

    return add
