"""The page of a study: every figure in it is one of the result's."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from convmill.page.document import Figure, Listing, Page
from convmill.page.html import render
from convmill.page.study import page_of, runs_csv
from convmill.page.study_figures import learning
from convmill.page.study_maps import maps
from convmill.study.tables import plain
from tests.page import studies
from tests.page.pages import Elements


@pytest.fixture(scope="module")
def pooling() -> Page:
    return page_of(studies.pooling())


def figures(page: Page) -> list[str]:
    """What is said of each picture."""
    blocks = [block for section in page.sections for block in section.blocks]
    return [block.alternative for block in blocks if isinstance(block, Figure)]


def rows(page: Page, caption: str) -> tuple[tuple[str, ...], ...]:
    blocks = [block for section in page.sections for block in section.blocks]
    return next(
        block.table.rows
        for block in blocks
        if isinstance(block, Listing) and block.caption.startswith(caption)
    )


def paragraphs(page: Page) -> list[str]:
    return [
        block for section in page.sections for block in section.blocks if isinstance(block, str)
    ]


def accuracies(arm: str) -> list[float]:
    return studies.accuracies(arm, list(studies.pooling().runs))


def test_question_answer_and_notes(pooling):
    result = studies.pooling()
    assert (pooling.title, pooling.question, pooling.answer) == (
        result.title,
        result.question,
        result.answer,
    )
    assert paragraphs(pooling).count("broken failed: no such layer") == 1
    assert any(text.startswith("Quick form") for text in paragraphs(pooling))


def test_pictures_of_arms_and_differences_are_told_in_words(pooling):
    accuracy, seconds, differences, _ = figures(pooling)
    summary = studies.pooling().arm("max").summary("accuracy")
    assert f"max pooling: {100 * summary.mean:.2f} %" in accuracy
    assert "broken" not in accuracy
    assert seconds.startswith("Time per epoch of each arm")
    assert "max pooling against average; max pooling against none" in differences


def test_tables_of_arms_matches_and_classes(pooling):
    assert [row[0] for row in rows(pooling, "The arms")][-1] == "broken"
    assert rows(pooling, "Arms that were made") == (
        ("no pooling, same parameters", "widths x 0.86: 93,410 parameters"),
    )
    spread = rows(pooling, "The spread of single runs")
    summary = studies.pooling().arm("max").summary("accuracy")
    assert spread[0] == (
        "max pooling",
        f"{100 * summary.deviation:.2f} points",
        f"{100 * summary.least:.2f} %",
        f"{100 * summary.greatest:.2f} %",
        f"{sum(value < 0.9923 for value in accuracies('max'))} of 5",
    )
    recall = rows(pooling, "Recall of each class")
    mean = studies.pooling().arm("max").summary("accuracy").mean
    assert recall[0][1].replace("\N{NARROW NO-BREAK SPACE}", " ") == f"{100 * mean:.1f} %"
    assert len(recall) == 3  # the arm that failed has none
    assert len(rows(pooling, "Differences")) == 2


def test_how_it_was_run(pooling):
    how = dict(pooling.how)
    assert how["Runs"] == "15 of 15 are finished, 5 seeds"
    assert how["Date"] == "2026-01-01 to 2026-01-05"
    assert how["Time"] == "60 s of training on one thread"
    assert how["Study"] == 'title = "Pooling"'


def test_raw_numbers_are_those_of_the_runs(pooling):
    result = studies.pooling()
    files = {each.name: each.text for each in pooling.downloads}
    read = list(csv.DictReader(io.StringIO(files["runs.csv"])))
    assert [(row["arm"], int(row["seed"])) for row in read] == [
        (run.arm, run.seed) for run in result.runs
    ]
    assert [float(row["accuracy"]) for row in read] == [
        run.values["accuracy"] for run in result.runs
    ]
    assert json.loads(files["study.json"])["runs"][0]["values"] == dict(result.runs[0].values)


def test_a_page_with_times_says_what_they_are_of():
    result = studies.pooling()
    only = dataclasses.replace(result, measures=result.measures[:1])
    times = [any("side by side" in text for text in paragraphs(page_of(one))) for one in
             (result, only)]  # fmt: skip
    assert times == [True, False]


def test_equal_matches_along_what_varies_are_one_line():
    result = studies.efficiency()
    words = {"dense": ("x 2",) * 3, "convolutions": ("x 3", "x 4", "x 4")}
    arms = tuple(
        dataclasses.replace(arm, match=words[arm.base][place % 3])
        for place, arm in enumerate(result.arms)
    )
    found = dataclasses.replace(result, arms=arms)
    assert rows(page_of(found), "Arms that were made") == (
        ("dense", "x 2"),
        ("convolutions at 100", "x 3"),
        ("convolutions at 1,000, 60,000", "x 4"),
    )
    assert not any("x 2" in text for text in paragraphs(page_of(found)))
    assert plain(found).count("x 2") == 1


def test_an_arm_that_could_not_be_built_has_no_sizes():
    result = studies.pooling()
    arms = list(result.arms)
    arms[3] = dataclasses.replace(arms[3], parameters=None, multiply_adds=None)
    found = dataclasses.replace(result, arms=tuple(arms))
    assert rows(page_of(found), "The arms")[-1] == ("broken", "", "", "0", "", "")


def test_what_varies_is_a_line_for_each_net():
    page = page_of(studies.efficiency())
    accuracy = figures(page)[0]
    assert accuracy.startswith("Test accuracy over training images.")
    assert "dense: from 70.20 % at 100 to 97.20 % at 60,000" in accuracy
    assert "convolutions: from 75.20 % at 100 to 99.30 % at 60,000" in accuracy
    told = next(text for text in figures(page) if text.startswith("Paired"))
    assert told.startswith("Paired differences over training images. ")
    assert "convolutions@100 and dense@100; convolutions@1000" in told
    assert "Training images: 60,000." in paragraphs(page)


def test_maps_are_means_over_seeds():
    page = page_of(studies.translation())
    together, alone = (text for text in figures(page) if text.startswith("Map"))
    assert together.startswith("Maps of test accuracy. the dense net: from 30.50 % to 90.50 %")
    assert "the global net: from 90.50 % to 90.50 %" in together
    assert alone == "Map of test accuracy. the wide net: from 10.50 % to 40.50 %."


def test_maps_of_something_else_than_the_measure_say_what_of():
    result = studies.translation()
    other = dataclasses.replace(studies.ACCURACY, map_label="change of weights")
    (_, alone) = maps(result, other)
    assert alone.alternative == "Map of change of weights. the wide net: from 10.5 to 40.5."


def test_epochs_of_thinned_curves_are_those_that_were_tested(monkeypatch):
    drawn = {}
    monkeypatch.setattr("convmill.page.study_figures.figure", lambda draw, _: drawn.update(it=draw))
    result = studies.pooling()
    curves = {"loss": (0.5, 0.1), "epoch": (10.0, 20.0)}
    runs = tuple(dataclasses.replace(run, curves=curves) for run in result.runs)
    list(learning(dataclasses.replace(result, runs=runs)))
    axes = drawn["it"]().axes
    assert [one.get_ylabel() for one in axes] == ["loss"]
    assert list(axes[0].lines[0].get_xdata()) == [10, 20]


@pytest.mark.parametrize("make", [studies.unfinished, studies.single])
def test_little_or_nothing_has_a_page_too(make):
    page = page_of(make())
    assert "Differences" not in [section.title for section in page.sections]
    Elements(render(page))


def test_what_is_not_finite_is_empty_in_the_csv():
    read = list(csv.DictReader(io.StringIO(runs_csv(studies.single()))))
    assert read[0]["accuracy"] == ""
    assert read[0]["epoch_seconds"] == "2.0"
