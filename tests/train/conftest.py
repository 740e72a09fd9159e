"""What every test of the seam into Keras starts from and leaves behind."""

import pytest

from convmill.train import attach


@pytest.fixture(autouse=True)
def _as_found(monkeypatch):
    """No environment of the machine's, and Keras unpatched afterwards."""
    for name in ("CONVMILL_STRICT", "CONVMILL_THREADS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    yield
    attach.unpatch()


@pytest.fixture
def strict(monkeypatch):
    """A fallback to Keras is an error, so a test cannot pass without compiled code."""
    monkeypatch.setenv("CONVMILL_STRICT", "1")
