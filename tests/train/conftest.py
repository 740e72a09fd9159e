"""What every test of the seam into Keras leaves behind, and the strictness of many."""

import pytest

from convmill.train import attach


@pytest.fixture(autouse=True)
def _as_found():
    """Keras unpatched afterwards."""
    yield
    attach.unpatch()


@pytest.fixture
def strict(monkeypatch):
    """A fallback to Keras is an error, so a test cannot pass without compiled code."""
    monkeypatch.setenv("CONVMILL_STRICT", "1")
