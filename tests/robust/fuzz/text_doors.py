"""Doors for texts and for what is kept in the cache, each by the function that reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convmill.cli.histories import read_history
from convmill.lower.alternatives import parts
from convmill.runtime import cache, remembered
from convmill.study import catalogue, toml
from tests.robust.fuzz.files import Door
from tests.robust.fuzz.outcomes import RIGHT, expect
from tests.robust.fuzz.run_doors import HISTORIES, STUDY
from tests.robust.kills.code import Tuned


def text_doors(folder: Path) -> list[Door]:
    """All of them."""
    place = folder / "cache"
    place.mkdir(mode=0o700)
    return [_study(folder), *_histories(folder), _code(place), _choices(place)]


def _study(folder: Path) -> Door:
    path = folder / "mine.toml"
    content = toml.dumps({**STUDY, "data": {"name": "digits", "train": 8}}).encode()

    def enter(may_differ: bool) -> None:
        catalogue.load(path)
        catalogue.load(path, quick=True)

    return Door("study.toml, load", path, content, enter)


def _histories(folder: Path) -> list[Door]:
    def door(name: str, text: str) -> Door:
        path = folder / name

        def enter(may_differ: bool) -> None:
            for values in read_history(path).values():
                expect(isinstance(values, list), values)

        return Door(f"{name}, read_history", path, text.encode(), enter)

    return [door(*one) for one in HISTORIES.items()]


def _code(place: Path) -> Door:
    """Native code that is kept: what is changed is never run."""
    with _kept_in(place):
        cache.keep("net", bytes(range(200)))
    path = place / "net.code"

    def enter(may_differ: bool) -> str:
        with _kept_in(place):
            expect(cache.load("net") is None, "changed code was taken")
        return RIGHT

    return Door("code cache", path, path.read_bytes(), enter)


def _choices(place: Path) -> Door:
    """Tuned choices: whatever is there selects among the alternatives that there are."""
    with _kept_in(place):
        tuned = Tuned()
        tuned.predicted()
        tuned.remember()
        expect(tuned.recalled() == tuned.found(), "tuned choices were not kept")
    (path,) = place.glob(f"*{remembered.ENDING}")
    there = {(part.stage, part.field): part.values for part in parts(tuned.modelled)}

    def enter(may_differ: bool) -> None:
        with _kept_in(place):
            for key, value in tuned.recalled().items():
                expect(value in there[key], f"a choice that there is not: {key}: {value}")

    return Door("tuned choices", path, path.read_bytes(), enter)


@contextmanager
def _kept_in(place: Path) -> Iterator[None]:
    """Within, the cache is there; elsewhere nothing is kept."""
    os.environ["CONVMILL_CACHE"] = str(place)
    try:
        yield
    finally:
        os.environ["CONVMILL_CACHE"] = ""
