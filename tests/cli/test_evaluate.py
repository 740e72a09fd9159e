"""``convmill evaluate``, and files that are no models."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from tests.cli.lines import arrays

FAILED = 1


def test_text(run, lines, trained):
    outcome = run("evaluate", trained, "--data", lines, "--threads", 1)
    assert outcome.code == 0
    assert outcome.out.startswith(f"Test on 24 images of {lines}: ")
    assert "accuracy " in outcome.out
    assert "loss " in outcome.out


def test_json_agrees_with_keras(run, lines, trained):
    import keras

    outcome = run("evaluate", trained, "--data", lines, "--json")
    data = arrays()
    x = data["x_test"][..., np.newaxis].astype("float32") / 255
    expected = keras.saving.load_model(trained).evaluate(
        x, np.eye(3)[data["y_test"]], verbose=0, return_dict=True
    )
    assert outcome.json["test"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_model_that_was_never_compiled(run, lines, tmp_path):
    import keras

    model = keras.Sequential(
        [keras.Input((12, 12)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    )
    model.save(tmp_path / "plain.keras")
    outcome = run("evaluate", tmp_path / "plain.keras", "--data", lines, "--json")
    assert outcome.code == 0
    assert set(outcome.json["test"]) == {"loss", "accuracy"}


def test_a_loss_in_a_list(run, lines, tmp_path):
    """A sparse loss takes class indices, in a list too."""
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Dense(3, "softmax", kernel_initializer="ones")]
    model = keras.Sequential([keras.Input((12, 12)), *layers])
    model.compile("sgd", [keras.losses.SparseCategoricalCrossentropy()])
    model.save(tmp_path / "list.keras")
    outcome = run("evaluate", tmp_path / "list.keras", "--data", lines, "--json")
    assert outcome.code == 0
    assert outcome.json["test"]["loss"] == pytest.approx(np.log(3), rel=1e-5)


def damaged(path, kind: str, good: bytes) -> None:
    """Writes a file that is no model, in one of the ways in which that happens."""
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("a model, I was told")
    elif kind == "truncated":
        path.write_bytes(good[: len(good) // 2])
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{" if kind == "bad json" else "{}")


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "bad json", "no model"])
def test_files_that_are_no_models(run, lines, trained, tmp_path, kind):
    path = tmp_path / "bad.keras"
    damaged(path, kind, trained.read_bytes())
    for arguments in (["evaluate", path, "--data", lines], ["predict", path, trained]):
        outcome = run(*arguments)
        assert outcome.code == FAILED
        assert outcome.out == ""
        assert outcome.err.startswith(f"Error: {path}")


def test_a_file_of_another_name(run, lines, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF")
    outcome = run("evaluate", path, "--data", lines)
    assert outcome.code == FAILED
    assert "does not end in .keras" in outcome.err


def test_code_hidden_in_a_model_is_never_run(run, lines, tmp_path):
    import keras

    model = keras.Sequential(
        [keras.Input((12, 12)), keras.layers.Lambda(lambda x: x), keras.layers.Flatten()]
    )
    model.save(tmp_path / "lambda.keras")
    outcome = run("evaluate", tmp_path / "lambda.keras", "--data", lines)
    assert outcome.code == FAILED
    assert "lambda.keras: Keras cannot load this model." in outcome.err
