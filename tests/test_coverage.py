"""docs/coverage.md says what the code does."""

from __future__ import annotations

import importlib
from pathlib import Path

import keras
import pytest

from convmill.plan import coverage
from convmill.plan.coverage import Coverage

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def rows() -> list[Coverage]:
    return coverage.layers_of_keras()


def test_the_page_is_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    page = importlib.import_module("rebuild_coverage")
    written = page.PAGE.read_text(encoding="utf-8")
    if f"Keras {keras.__version__}:" not in written:
        pytest.skip("docs/coverage.md was written with another Keras: run make coverage")
    assert page.page() == written, "run make coverage"


def test_every_row_has_its_reason(rows: list[Coverage]) -> None:
    for row in (*rows, *coverage.activations()):
        assert bool(row.why) == (row.where == coverage.KERAS), row.name


def test_layers(rows: list[Coverage]) -> None:
    found = {row.name: row.where for row in rows}
    assert found["Conv2D"] == found["Add"] == found["PReLU"] == "compiled"
    assert found["LSTM"] == found["Conv3D"] == found["MultiHeadAttention"] == coverage.KERAS
    assert "Layer" not in found
    assert len(found) == len(rows)
