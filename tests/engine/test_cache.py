"""Native code on disk: found again, never trusted blindly, never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from convmill.lower.passes import lower
from convmill.runtime import cache, host, jit, kept, machine_code
from convmill.runtime.jit import Compiled
from tests.conftest import PATIENCE
from tests.engine.nets import conv, dense, flatten, graph_of, parameters, program_of, recipe_of

GRAPH = graph_of((6, 6, 2), conv(3, (3, 3)), flatten, dense(4))
IMAGES = np.random.default_rng(0).random((5, 6, 6, 2), np.float32)
NAME = "import tests.engine.test_cache as t; print(t.name())"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[object]:
    """The cache, empty; no code is in memory before and after."""
    place = tmp_path / "caches" / "convmill"
    monkeypatch.setenv("CONVMILL_CACHE", str(place))
    jit.forget()
    yield place
    jit.forget()


def name(**changed: object) -> str:
    """The name of the net's code."""
    made_from = {"machine": host.machine(), "training": False, "guard": 0, **changed}
    network = lower(GRAPH, None, host.machine())
    return cache.name_of(network, **made_from)  # type: ignore[arg-type]


def predicted() -> tuple[np.ndarray, Compiled]:
    """Predictions by code that is not in memory yet, and that code."""
    jit.forget()
    program = program_of(GRAPH, None, parameters(np.random.default_rng(1), GRAPH))
    return program.predict(IMAGES), program.code("inference")


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_code_is_loaded_and_not_planned_or_compiled_again(folder, monkeypatch):
    first, compiled = predicted()
    assert not compiled.kept
    texts = compiled.source, compiled.optimized, compiled.assembly
    monkeypatch.setattr(machine_code, "object_code", None)  # would raise if it were called
    with monkeypatch.context() as within:
        within.setattr(jit, "training_step", None)
        within.setattr(jit, "inference_step", None)
        again, loaded = predicted()
    assert loaded.kept
    assert again.tobytes() == first.tobytes()
    assert loaded.memory == compiled.memory
    assert loaded.step == compiled.step
    assert (loaded.source, loaded.optimized, loaded.assembly) == texts


def test_what_code_is_made_from_is_in_its_name():
    others = [
        name(training=True),
        name(guard=64),
        name(machine=replace(host.machine(), lanes=2)),
        cache.name_of(
            lower(graph_of((6, 6, 2), conv(3, (3, 3)), flatten, dense(5)), None, host.machine()),
            host.machine(),
            training=False,
            guard=0,
        ),
    ]
    assert len({name(), *others}) == 5


@pytest.mark.parametrize("training", [False, True])
def test_memory_is_kept_beside_code(training):
    network = lower(GRAPH, recipe_of("mean_squared_error"), host.machine())
    _, memory = jit.planned(network, host.machine(), training, guard=64)
    assert kept.unpack(kept.pack(memory, b"code")) == (memory, b"code")


def test_another_process_finds_the_same_name():
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found = subprocess.run(
            [sys.executable, "-c", NAME],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert found.stdout.strip() == name()


def test_nothing_is_kept_where_there_shall_be_no_cache(folder, monkeypatch):
    monkeypatch.setenv("CONVMILL_CACHE", "")
    monkeypatch.setattr(cache, "name_of", None)  # would raise if it were called
    predicted()
    assert not predicted()[1].kept
    assert not folder.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:40],
        lambda content: content + b"\0",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: b"\x7fELF" + bytes(len(content)),
    ],
)
def test_damaged_code_is_told_and_made_anew(folder, capsys, damage):
    first, _ = predicted()
    path = only_file(folder)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    again, compiled = predicted()
    assert not compiled.kept
    assert again.tobytes() == first.tobytes()
    assert f"{path} is damaged" in capsys.readouterr().err
    assert predicted()[1].kept
    assert not capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="who may write is told otherwise there")
def test_code_that_others_may_have_written_is_not_run(folder, capsys):
    predicted()
    for path in (only_file(folder), folder):
        mode = path.stat().st_mode
        path.chmod(0o777)
        assert not predicted()[1].kept
        assert "may have been written by others" in capsys.readouterr().err
        path.chmod(mode)
        assert predicted()[1].kept


def test_a_cache_that_cannot_be_written_is_no_error(folder, monkeypatch, capsys):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file, not a folder")
    assert not predicted()[1].kept
    monkeypatch.setenv("CONVMILL_CACHE", str(folder / "below a file"))
    assert not predicted()[1].kept
    assert not capsys.readouterr().err


def test_what_was_used_last_stays(folder, monkeypatch):
    names = ["a" * 64, "b" * 64, "c" * 64]
    for age, each in enumerate(names):
        cache.keep(each, bytes(1000))
        os.utime(folder / f"{each}.code", (age, age))
    assert cache.load(names[0]) == bytes(1000)  # used now
    monkeypatch.setattr(cache, "MOST_BYTES", 2500)
    cache.keep("d" * 64, bytes(1000))
    assert {path.name[:1] for path in folder.glob("*.code")} == {"a", "d"}
