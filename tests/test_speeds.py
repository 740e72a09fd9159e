"""What the README says of speed: one paragraph, made of one run's samples."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture
def speeds(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("rebuild_speeds")


def peer(name: str, training: list[float], evaluation: list[float]) -> dict[str, Any]:
    """What the benchmark writes of one: seconds for 1,000 images."""
    chunks = [[{"images": 1000, "seconds": one} for one in each] for each in (training, evaluation)]
    return {
        "name": name,
        "label": name.title(),
        "training": chunks[0],
        "evaluation": chunks[1],
        "peak_memory": 732.4e6,
    }


def run(*peers: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": {"cpu": "A CPU", "cores": 2, "date": "today"},
        "options": {"threads": 2, "repeats": 3},
        "nets": [{"peers": list(peers), "peak_gigaflops": [230.4, 231.4]}],
    }


OTHER = peer("torch", [0.5, 0.4, 0.25], [0.1])
OURS = peer("convmill", [0.1, 0.125, 0.0625], [0.02])


def test_the_table_has_medians_the_fastest_first(speeds):
    broken = peer("jax", [], [])
    assert speeds.table(run(OTHER, OURS, broken)).splitlines()[2:] == [
        "| **Convmill** | **10,000** (8,000..16,000) | **50,000** (50,000..50,000) | 732 |",
        "| Torch | 2,500 (2,000..4,000) | 10,000 (10,000..10,000) | 732 |",
    ]


def test_the_three_speeds_stand_beside_each_other(speeds):
    said = " ".join(speeds.paragraph(run(OTHER, OURS), [9000.0, 12000.0], 11000.0).split())
    assert "A CPU, 2 cores, today; 2 threads, medians (least..greatest) of 3 inter" in said
    assert "is 231 GFLOP/s" in said
    assert "As fast as the best of the others: training 4.0 times, evaluation 5.0 times." in said
    assert "ran at 9,000 to 12,000 images/s, and `convmill inspect` predicted 11,000." in said
    assert "best of the others" not in speeds.paragraph(run(OURS), [1.0], 1.0)


def test_rates_are_read_from_what_a_terminal_showed(speeds):
    shown = "Epoch 1/2  \x1b[32m16,051 images/s\x1b[0m  3.7 s\nEpoch 2/2  900 images/s\nimages"
    assert speeds.spoken_rates(shown) == [16051, 900]


def test_a_terminal_becomes_the_same_picture_each_time(speeds, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        speeds.draw("\x1b[1mbold\x1b[0m\nplain\n\n", tmp_path / name / "c.svg", "a title", 40)
    first, second = ((tmp_path / name / "c.svg").read_text() for name in ("a", "b"))
    assert first == second
    assert "bold" in first
    assert "a&#160;title" in first or "a title" in first


def test_convmill_in_another_form_is_no_peer(speeds):
    forms = (peer("before", [0.05], [0.04]), peer("convmill-avx2", [0.01], [0.01]))
    assert speeds.ratios(run(OTHER, OURS, *forms)) == speeds.ratios(run(OTHER, OURS))
