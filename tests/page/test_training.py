"""The page of one training: its figures are those of the predictions, by hand."""

from __future__ import annotations

import csv
import io

import keras
import numpy as np
import pytest

from convmill.page.document import Figure, Listing
from convmill.page.training import Training, history_csv, training_page
from convmill.view.reliability import wilson
from tests.view.classifiers import drawn, echo_images

NAMES = ("cat", "dog", "emu", "fox")
HISTORY = {"accuracy": [0.5, 0.75], "loss": [0.9, 0.4], "val_accuracy": [0.5, 0.625],
           "val_loss": [1.0, float("nan")], "learning_rate": [0.1, 0.05]}  # fmt: skip
# Of 8 images two are wrong: both emus, the second of them the worse.
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 0])
PREDICTED = [0, 0, 0, 1, 1, 1, 1, 0]


def training(model=None, x=None) -> Training:
    probabilities = np.full((8, 4), 0.1, np.float32)
    probabilities[np.arange(8), PREDICTED] = 0.7
    probabilities[6] = [0.05, 0.9, 0.025, 0.025]
    return Training(
        model=model or echo_images(4, 4),
        data="animals",
        x=drawn(probabilities, 4) if x is None else x,
        y=LABELS,
        class_names=NAMES,
        training_images=1000,
        history=HISTORY,
        scores={"loss": 0.5, "accuracy": 0.75},
        how=(("Seed", "3"),),
        raw="{}",
    )


@pytest.fixture(scope="module")
def page():
    return training_page(training())


def listing(page, caption: str) -> tuple[tuple[str, ...], ...]:
    blocks = [block for section in page.sections for block in section.blocks]
    return next(
        block.table.rows
        for block in blocks
        if isinstance(block, Listing) and block.caption.startswith(caption)
    )


def test_the_question_and_the_answer_in_a_sentence(page):
    assert page.question == (
        "How well does a net of 64 parameters tell the 4 classes of animals apart after 2 epochs "
        "on 1,000 images?"
    )
    low, high = (f"{100 * float(end):.2f}" for end in wilson(6, 8))
    answer = page.answer.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "75.00 % of 8 images right that it has not seen (6 of 8" in answer
    assert f"interval {low} % to {high} %" in answer


def test_figures_of_the_last_epoch_and_of_the_test_images(page):
    assert listing(page, "The net's figures") == (
        ("loss", "0.4000", "nan", "0.5000"),
        ("accuracy", "0.7500", "0.6250", "0.7500"),
    )


def test_classes_least_recognised_first(page):
    rows = listing(page, "The classes")
    plain = [tuple(cell.replace("\N{NARROW NO-BREAK SPACE}", " ") for cell in row) for row in rows]
    assert plain == [
        ("emu", "2", "0", "0.0 %", "dog (2)"),
        ("cat", "4", "4", "100.0 %", "–"),
        ("dog", "2", "2", "100.0 %", "–"),
        ("fox", "0", "0", "–", "–"),
    ]


def test_pictures_are_told_in_words(page):
    figures = [
        block for section in page.sections for block in section.blocks if isinstance(block, Figure)
    ]
    curves, confusion, mistakes = (figure.alternative for figure in figures)
    assert "loss in training goes from 0.9 to 0.4" in curves
    assert "accuracy on validation data goes from 0.5 to 0.625" in curves
    assert "learning_rate" not in curves
    assert "table below" in confusion
    assert mistakes.startswith("2 test images of 8 are taken for another class. ")
    assert "The most wrong, number 6, is emu and is taken for dog with 90.0" in mistakes


def test_the_history_is_there_to_download(page):
    assert [each.name for each in page.downloads] == ["history.csv", "run.json"]
    rows = list(csv.DictReader(io.StringIO(page.downloads[0].text)))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [float(row["loss"]) for row in rows] == [0.9, 0.4]
    assert rows[1]["val_loss"] == ""  # not finite


def test_a_history_without_epochs_has_a_header_alone():
    assert history_csv({"loss": []}) == "epoch\n"


def test_what_is_no_classifier_has_its_scores_alone():
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    page = training_page(training(model))
    assert page.answer == "On images that it has not seen: loss 0.5000, accuracy 0.7500."
    assert any("model must give one row" in block for block in page.sections[1].blocks)
