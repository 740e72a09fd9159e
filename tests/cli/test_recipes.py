"""``convmill train --recipe``: end to end, and what it does beside other options."""

from __future__ import annotations

import re

import pytest

WRONG_USAGE = 2


def test_fast_learns_the_small_digits(run):
    outcome = run("train", "--recipe", "fast", "--data", "digits", "--seed", 1, "--epochs", 3)
    assert outcome.code == 0
    assert "57,242 parameters" in outcome.out
    assert re.search(r"Training took \d+\.\d\d s, compiling .* \d+\.\d\d s", outcome.out)
    accuracy = re.search(r"Test on 360 images of digits: .*accuracy (\d\.\d+)", outcome.out)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.9


def test_training_is_told_apart_from_what_comes_before(run, lines):
    outcome = run("train", "--recipe", "FAST", "--data", lines, "--json")
    assert outcome.code == 0
    assert 0 < outcome.json["training_seconds"] < outcome.json["fit_seconds"]
    assert len(outcome.json["history"]["loss"]) == 1


def test_epochs_and_batch_size_replace_the_recipes(run, lines, tmp_path):
    import keras

    out = tmp_path / "net.keras"
    arguments = ["train", "--recipe", "notebook-fast", "--data", lines, "--validate", "--out", out]
    assert run(*arguments, "--epochs", 2, "--batch-size", 16).code == 0
    optimizer = keras.saving.load_model(out).optimizer
    held_back = 20  # of 96
    steps = 2 * -(-(96 - held_back) // 16)
    assert int(optimizer.iterations) == steps
    schedule = optimizer._learning_rate
    assert schedule.warmup_steps + schedule.decay_steps == steps


@pytest.mark.parametrize("name", ["list", "slow"])
def test_an_unknown_recipe_names_those_there_are(run, name):
    outcome = run("train", "--recipe", name)
    assert outcome.code == WRONG_USAGE
    assert "'fast', 'notebook-fast'" in outcome.err


def test_a_misspelt_recipe_names_the_nearest(run):
    assert "Did you mean 'notebook-fast'?" in run("train", "--recipe", "notebok-fast").err


@pytest.mark.parametrize(("option", "value"), [("--model", "x.keras"), ("--optimizer", "sgd")])
def test_what_a_recipe_brings_is_not_said_twice(run, option, value):
    outcome = run("train", "--recipe", "fast", option, value)
    assert outcome.code == WRONG_USAGE
    assert f"Received: --recipe fast and {option} {value}" in outcome.err
