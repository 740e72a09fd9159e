"""Makes up what tuning measures, so that tests know what is to be found."""

from __future__ import annotations

import pytest

from convmill.runtime import remembered, tune


@pytest.fixture
def forgetful():
    """What this process remembers of its tuning is forgotten with the test."""
    remembered.forget()
    yield
    remembered.forget()


def favour(monkeypatch, is_favoured, before=2.0, after=1.0):
    """Has every value but those that ``is_favoured`` take as long as the others."""

    def spent(part, every, network):
        value = getattr(network.stages[part.stage].choice, part.field)
        return 1.0 if is_favoured(part, value) else 2.0

    def networks(program, kind, run, seconds):
        return program.networks[kind]

    monkeypatch.setattr(tune, "launch_seconds", networks)
    monkeypatch.setattr(tune, "part_seconds", spent)
    monkeypatch.setattr(tune, "_compared", lambda *rest: (before, after))
