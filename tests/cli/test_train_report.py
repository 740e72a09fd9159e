"""``convmill train --report``: a page of the run, whole or not at all, and how to run it again."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.page.pages import Elements

FAILED, WRONG_USE = 1, 2
SCRIPT = """
import keras

def build(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape), keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


@pytest.fixture
def train(run, lines, tmp_path):
    script = tmp_path / "net.py"
    script.write_text(SCRIPT)

    def call(*more):
        model = f"{script}:build"
        return run("train", "--data", lines, "--model", model, "--epochs", 2, "--json", *more)

    return call


def test_the_page_tells_what_json_tells(train, run, tmp_path):
    report = tmp_path / "run.html"
    outcome = train("--validate", "--seed", 3, "--report", report)
    assert outcome.code == 0
    page = Elements(report.read_text(encoding="utf-8"))
    raw = json.loads(page.downloads()["run.json"])
    how = dict(zip(page.texts("dt"), facts(page), strict=True))
    assert raw["how"] == how
    assert {name: raw[name] for name in outcome.json} == outcome.json
    assert raw["training_images"] == 76
    right = round(24 * outcome.json["test"]["accuracy"])
    assert any(f"({right} of 24;" in text for text in page.texts("p"))
    assert how["Seed"] == "3"
    again = shlex.split(how["Command"])
    assert again[0] == "convmill"
    repeated = run(*again[1:], "--json").json
    assert repeated["history"] == outcome.json["history"]
    assert repeated["test"] == outcome.json["test"]


def facts(page: Elements) -> list[str]:
    """What stands in each dd, the spans in it included."""
    found: list[str] = []
    for tag, text in page.text:
        if tag == "dt":
            found.append("")
        elif found and tag in ("dd", "span"):
            found[-1] += text
    return found


def test_a_page_is_not_replaced_unless_asked_for(train, tmp_path):
    report = tmp_path / "run.html"
    report.write_text("mine")
    outcome = train("--report", report)
    assert outcome.code == WRONG_USE
    assert "--force" in outcome.err
    assert report.read_text() == "mine"
    assert train("--report", report, "--force").code == 0
    assert report.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["run.pdf", "run", "no/such/run.html"])
def test_a_page_that_cannot_be_written_is_told_before_anything_is_trained(train, tmp_path, name):
    outcome = train("--report", tmp_path / name)
    assert outcome.code == WRONG_USE
    assert "--report" in outcome.err
    assert "Data:" not in outcome.err


def test_a_page_that_fails_leaves_the_model(train, tmp_path, monkeypatch):
    pages = tmp_path / "pages"
    pages.mkdir()
    monkeypatch.setattr("convmill.cli.training_report.machine", lambda: pages.rmdir() or "gone")
    out = tmp_path / "net.keras"
    outcome = train("--report", pages / "run.html", "--out", out)
    assert outcome.code == FAILED
    assert "run.html could not be written: No such file or directory." in outcome.err
    assert out.is_file()
