"""``convmill study report``: the page of a study's folder, finished or not."""

from __future__ import annotations

import csv
import io

import pytest

from convmill.study import experiment
from tests.page.pages import Elements
from tests.study.tables import small

FAILED, WRONG_USE = 1, 2


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(folder, result) of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    table = small(folder)
    return experiment.carry_out(table, folder=folder / "run", workers=1, verbose=False)[::-1]


def test_the_page_holds_the_study_and_is_made_anew(run, study):
    folder, result = study
    outcome = run("study", "report", folder)
    assert outcome.code == 0
    page = folder / "report.html"
    assert f"Wrote {page}" in outcome.out
    found = Elements(page.read_text(encoding="utf-8"))
    assert result.answer in found.texts("p")
    rows = list(csv.DictReader(io.StringIO(found.downloads()["runs.csv"])))
    assert [float(row["accuracy"]) for row in rows] == [
        run.values["accuracy"] for run in result.runs
    ]
    page.write_text("old")
    assert run("study", "report", folder).code == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_json_makes_no_page_unless_it_is_named(run, study, tmp_path):
    folder, result = study
    (folder / "report.html").unlink(missing_ok=True)
    outcome = run("study", "report", folder, "--json")
    assert outcome.json["answer"] == result.answer
    assert not (folder / "report.html").exists()
    out = tmp_path / "page.html"
    assert run("study", "report", folder, "--json", "--out", out).json["answer"] == result.answer
    assert out.is_file()


def test_what_cannot_be_is_told(run, study, tmp_path):
    folder, _ = study
    outcome = run("study", "report", tmp_path / "none")
    assert outcome.code == FAILED
    assert "holds no study" in outcome.err
    for name in ("page.pdf", "no/such/page.html"):
        outcome = run("study", "report", folder, "--out", tmp_path / name)
        assert outcome.code == WRONG_USE
        assert "--out" in outcome.err
