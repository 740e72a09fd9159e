"""docs/claims.md and docs/studies/: every figure is a result's, and nothing is typed by hand."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from convmill.plain_json import json_text
from convmill.study import catalogue
from tests.page import studies
from tests.test_lesson import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def claims():
    return load("rebuild_claims")


@pytest.fixture(scope="module")
def docs(claims, tmp_path_factory) -> Path:
    """Pages of two results, one of them no claim's."""
    docs = tmp_path_factory.mktemp("docs")
    folder = docs / "studies"
    folder.mkdir()
    for name, result in (("pooling", studies.pooling()), ("tiny", studies.single())):
        (folder / f"{name}.json").write_text(json_text(result.to_dict()))
    (folder / "old-1.svg").write_text("<svg/>")
    (folder / "README.md").write_text("[Claims](../claims.md)")
    claims.rebuild(docs)
    return docs


def test_the_committed_pages_are_those_of_the_results(claims):
    folder = ROOT / "docs" / "studies"
    found = claims.results(folder)
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert page == claims.claims_page(found)
    for name, result in found.items():  # pictures differ with Matplotlib's version
        assert claims.escaped(result.answer) in (folder / f"{name}.md").read_text(encoding="utf-8")


def test_links_lead_somewhere(docs):
    for page in (docs / "claims.md", *(docs / "studies").glob("*.md")):
        links = re.findall(r"\]\(([^)]+)\)", page.read_text())
        local = [link for link in links if link != "lesson.md"]
        assert local
        assert [link for link in local if not (page.parent / link).is_file()] == []


def test_a_claim_has_its_answer_or_the_command_that_would_give_it(docs, claims):
    text = (docs / "claims.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(claims.CLAIMS)
    for row, claim in zip(rows, claims.CLAIMS, strict=True):
        measured = row.split(" | ")[1]
        if claim.study == "pooling":
            assert measured.startswith("Max pooling beats average pooling by 0.20 points.")
            assert "quick form" in measured
        else:
            assert measured == f"not measured yet: `convmill study run {claim.study}`"
    assert "Further studies: [tiny](studies/tiny.md)" in text


def test_a_page_has_question_answer_tables_and_pictures(docs):
    text = (docs / "studies" / "pooling.md").read_text()
    assert text.startswith(
        "# Pooling \\<&\\>\n\n*Does max pooling beat the others?*\n\n**Max pooling"
    )
    pictures = re.findall(r"!\[(.*?)\]\((pooling-\d\.svg)\)", text)
    assert [name for _, name in pictures] == [f"pooling-{place}.svg" for place in (1, 2, 3, 4)]
    assert pictures[0][0].startswith("Test accuracy of each arm. max pooling: ")
    assert "| multiply-adds |" in text
    assert "\n| no pooling, same parameters | widths x 0.86: 93,410 parameters |\n" in text
    assert "- Command: convmill study run pooling --quick\n" in text
    assert not (docs / "studies" / "old-1.svg").exists()
    assert (docs / "studies" / "README.md").exists()


def test_each_claim_has_a_study_that_can_be_run(claims):
    assert {claim.study for claim in claims.CLAIMS} <= set(catalogue.names())


def test_the_largest_net_is_named(claims):
    result = studies.pooling()
    arms = list(result.arms)
    arms[1] = dataclasses.replace(arms[1], parameters=15_861_000)
    text = claims.largest_and_answer(dataclasses.replace(result, arms=tuple(arms)))
    assert text == f"Average pooling has 15,861,000 parameters. {result.answer}"


def test_only_finished_results_are_taken_and_quick_ones_replace_no_full_one(
    claims, docs, tmp_path, monkeypatch
):
    folder = tmp_path / "studies"
    shutil.copytree(docs / "studies", folder)
    before = (folder / "pooling.json").read_text()
    monkeypatch.setattr(claims, "read", lambda _: studies.unfinished())
    with pytest.raises(SystemExit, match="0 of 10 runs"):
        claims.take(Path("run"), folder)
    full = dataclasses.replace(studies.pooling(), quick=False)
    monkeypatch.setattr(claims, "read", lambda _: full)
    claims.take(Path("run"), folder)
    assert (folder / "pooling.json").read_text() != before
    monkeypatch.setattr(claims, "read", lambda _: studies.pooling())
    with pytest.raises(SystemExit, match="quick form"):
        claims.take(Path("run"), folder)
    assert not claims.results(folder)["pooling"].quick
