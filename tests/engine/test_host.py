"""What is known of the machine, and what CONVMILL_TARGET leaves of it."""

from __future__ import annotations

import pytest

from convmill.lower.machine import TARGETS, Machine
from convmill.runtime import host

ASKED_FOR = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx2", "fma"}
RUNS = {  # which targets a processor runs
    "avx512": ["avx512", "avx2", "sse4"],
    "avx2": ["avx2", "sse4"],
    "sse4": ["sse4"],
    "neon": ["neon"],
    "riscv64": [],
}


@pytest.fixture
def on(monkeypatch):
    """Makes this processor one that has no more than a target."""

    def change(target: str) -> Machine:
        machine = TARGETS.get(target, Machine(4, 16, target))
        monkeypatch.setattr(host, "processor", lambda: machine)
        return machine

    return change


def test_the_system_and_llvm_agree_on_what_we_ask_for() -> None:
    if not host._listed_features():
        pytest.skip("this system lists no x86 features")
    assert host._listed_features() & ASKED_FOR == host.llvm_features() & ASKED_FOR


def test_where_nothing_is_listed_llvm_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_listed_features", frozenset)
    assert host.features.__wrapped__() == host.llvm_features()


@pytest.mark.parametrize(
    ("architecture", "features", "target"),
    [
        ("x86_64", ASKED_FOR, "avx512"),
        ("AMD64", ASKED_FOR - {"avx512bw"}, "avx2"),
        ("x86_64", {"avx2"}, "sse4"),  # without FMA
        ("arm64", set(), "neon"),
        ("aarch64", set(), "neon"),
        ("riscv64", set(), "riscv64"),
    ],
)
def test_processors_by_what_they_have(monkeypatch, architecture, features, target):
    monkeypatch.setattr(host.platform, "machine", lambda: architecture)
    monkeypatch.setattr(host, "features", lambda: frozenset(features))
    assert host.processor.__wrapped__().target == target


def test_each_processor_runs_its_targets_and_is_itself_without_any(on, monkeypatch):
    monkeypatch.delenv("CONVMILL_TARGET", raising=False)
    for name, runs in RUNS.items():
        own = on(name)
        assert list(host.targets()) == runs
        assert host.machine() == own
        for target in runs:
            for written in (target, target.upper(), f" {target.capitalize()} "):
                monkeypatch.setenv("CONVMILL_TARGET", written)
                assert host.machine() == TARGETS[target]
        monkeypatch.setenv("CONVMILL_TARGET", "")
        assert host.machine() == own


@pytest.mark.parametrize("name", RUNS)
def test_what_a_processor_does_not_have_is_refused(on, monkeypatch, name):
    on(name)
    works = f"one of {', '.join(RUNS[name])}" if RUNS[name] else "unset"
    for target in {*TARGETS, "avx", "sse4.1", "0"} - set(RUNS[name]):
        monkeypatch.setenv("CONVMILL_TARGET", target)
        said = f"CONVMILL_TARGET must be {works}.* Received: CONVMILL_TARGET='{target}'"
        with pytest.raises(ValueError, match=said):
            host.machine()
