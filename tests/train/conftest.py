"""What every test of the seam into Keras leaves behind, and the strictness of many."""

import pytest

from convmill.train import repeat
from convmill.train.attach import methods


@pytest.fixture(autouse=True)
def _as_found():
    """Keras unpatched afterwards."""
    yield
    methods.unpatch()


@pytest.fixture
def strict(monkeypatch):
    """A fallback to Keras is an error, so a test cannot pass without compiled code."""
    monkeypatch.setenv("CONVMILL_STRICT", "1")


@pytest.fixture
def runs(monkeypatch):
    """Counts the calls of a Program: how often compiled code really ran."""
    from convmill.runtime.program import Program

    calls = []
    for name in ("train", "evaluate"):
        original = getattr(Program, name)

        def spy(self, *args, _original=original, _name=name, **kwargs):
            calls.append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(Program, name, spy)
    return calls


@pytest.fixture
def short(monkeypatch):
    """Counts the calls that took the short way."""
    counts = [0]
    plain = repeat.whole

    def counted(model, work):
        counts[0] += 1
        return plain(model, work)

    monkeypatch.setattr(repeat, "whole", counted)
    return counts
