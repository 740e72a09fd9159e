"""``convmill show`` for learning curves and mistakes, and the history that ``train`` writes."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.lines import arrays

FAILED, USAGE = 1, 2
COMMANDS = ("confusion", "mistakes", "reliability")
NET = """
import keras

def build(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape), keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


@pytest.fixture
def net(tmp_path) -> str:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:build"


def is_picture(path) -> bool:
    if path.suffix == ".svg":
        return path.read_text().startswith("<?xml") and "</svg>" in path.read_text()
    with Image.open(path) as picture:
        picture.load()
        return picture.width == 1400


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["confusion"], "confusion"),
        (["mistakes"], "mistakes"),
        (["mistakes", "--least-sure", "--most", "3"], "least-sure"),
        (["reliability", "--bins", "5", "--dark"], "reliability"),
    ],
)
def test_pictures_of_mistakes(run, lines, trained, tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    outcome = run("show", command[0], trained, "--data", lines, *command[1:])
    assert outcome.code == 0
    assert outcome.out == f"lines-{name}.png\n"
    assert is_picture(tmp_path / f"lines-{name}.png")
    assert list(tmp_path.iterdir()) == [tmp_path / f"lines-{name}.png"]


@pytest.mark.parametrize("command", COMMANDS)
def test_out_names_the_file(run, lines, trained, tmp_path, command):
    out = tmp_path / "drawn.svg"
    out.write_text("old")
    outcome = run("show", command, trained, "--data", lines, "--out", out)
    assert (outcome.code, outcome.out) == (0, f"{out}\n")
    assert is_picture(out)


def test_the_figures_are_those_of_evaluate(run, lines, trained, tmp_path, monkeypatch):
    """The accuracy in the confusion matrix's headline is the one that ``evaluate`` prints."""
    from convmill import view

    pictures = []
    drawn = view.confusion_matrix

    def seen(*args, **options):
        pictures.append(drawn(*args, **options))
        return pictures[-1]

    monkeypatch.setattr(view, "confusion_matrix", seen)
    run("show", "confusion", trained, "--data", lines, "--out", tmp_path / "c.png")
    accuracy = run("evaluate", trained, "--data", lines, "--json").json["test"]["accuracy"]
    share = f"{100 * accuracy:.2f}"
    assert pictures[0].get_suptitle().startswith(f"Confusion matrix: {share}")
    assert pictures[0].get_suptitle().endswith("of 24 images right")


def test_one_unit_and_two_classes(run, tmp_path):
    import keras

    data = arrays()
    for part in ("train", "test"):
        data[f"y_{part}"] = (data[f"y_{part}"] > 0).astype(np.uint8)
    np.savez(tmp_path / "two.npz", **data)
    layers = [keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")]
    keras.Sequential([keras.Input((12, 12, 1)), *layers]).save(tmp_path / "two.keras")
    for command in COMMANDS:
        out = tmp_path / f"{command}.png"
        arguments = [tmp_path / "two.keras", "--data", tmp_path / "two.npz", "--out", out]
        assert run("show", command, *arguments).code == 0
        assert is_picture(out)


def test_a_model_that_tells_more_classes_apart(run, lines, tmp_path):
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Dense(5, activation="softmax")]
    keras.Sequential([keras.Input((12, 12, 1)), *layers]).save(tmp_path / "five.keras")
    for command in COMMANDS:
        arguments = [tmp_path / "five.keras", "--data", lines, "--out", tmp_path / "five.png"]
        assert run("show", command, *arguments).code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_data_that_does_not_fit(run, lines, trained, tmp_path, command):
    data = arrays()
    data["y_test"] = data["y_test"] + 1
    np.savez(tmp_path / "four.npz", **data)
    outcome = run("show", command, trained, "--data", tmp_path / "four.npz")
    assert outcome.code == FAILED
    assert outcome.err == "Error: The model tells 3 classes apart. Received: data of 4.\n"
    outcome = run("show", command, trained, "--data", "digits")
    assert outcome.code == FAILED
    assert "The model reads images of 12x12x1" in outcome.err


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage(run, lines, trained, tmp_path, command):
    assert "--data" in run("show", command, trained).err
    outcome = run("show", command, trained, "--data", lines, "--out", tmp_path / "picture.jpg")
    assert outcome.code == USAGE
    assert ".png or .svg" in outcome.err
    outcome = run("show", command, tmp_path / "missing.keras", "--data", lines)
    assert outcome.code == USAGE
    assert "missing.keras" in outcome.err
    not_a_model = tmp_path / "text.keras"
    not_a_model.write_text("no model")
    outcome = run("show", command, not_a_model, "--data", lines)
    assert outcome.code == FAILED
    assert outcome.err.startswith(f"Error: {not_a_model} is no Keras model")
    assert run("show", command[:-1], trained).err.endswith(f"Did you mean '{command}'?\n")


def test_a_linear_model_with_another_loss(run, lines, tmp_path):
    import keras

    model = keras.Sequential(
        [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    model.compile("sgd", "mse")
    model.save(tmp_path / "linear.keras")
    outcome = run("show", "confusion", tmp_path / "linear.keras", "--data", lines)
    assert outcome.code == FAILED
    assert outcome.err.startswith("Error: model must give probabilities, or logits")


# Histories --------------------------------------------------------------------------------------


def test_train_writes_its_history_and_curves_draws_it(run, lines, net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", lines, "--model", net, "--epochs", 3, "--seed", 1, "--json"]
    result = run("train", *arguments, "--history", "run.json", "--validate").json
    history = json.loads((tmp_path / "run.json").read_text())
    assert history == result["history"]
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert len(history["val_loss"]) == 3
    outcome = run("show", "curves", "run.json")
    assert (outcome.code, outcome.out) == (0, "run-curves.png\n")
    assert is_picture(tmp_path / "run-curves.png")


def test_validate_holds_back_every_fifth_image(run, lines, net):
    arguments = ["--data", lines, "--model", net, "--epochs", 1]
    assert "Held back: 20 of these images" in run("train", *arguments, "--validate").out
    assert "Held back" not in run("train", *arguments).out


def test_a_history_that_is_there_needs_force(run, lines, net, tmp_path):
    path = tmp_path / "run.json"
    path.write_text("what I had")
    arguments = ["train", "--data", lines, "--model", net, "--epochs", 1, "--history", path]
    outcome = run(*arguments)
    assert outcome.code == USAGE
    assert "--force" in outcome.err
    assert path.read_text() == "what I had"
    assert run(*arguments, "--force").code == 0
    assert set(json.loads(path.read_text())) == {"loss", "accuracy"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("run.txt", ".json"), ("missing/run.json", "no folder"), ("folder.json", "is a folder")],
)
def test_where_the_history_goes_is_checked_first(run, tmp_path, name, said):
    (tmp_path / "folder.json").mkdir()
    outcome = run("train", "--data", "digits", "--history", tmp_path / name)
    assert outcome.code == USAGE
    assert "--history" in outcome.err
    assert said in outcome.err
    assert outcome.out == ""


def test_a_folder_that_takes_no_files(run, tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    outcome = run("train", "--data", "digits", "--history", tmp_path / "run.json")
    assert outcome.code == USAGE
    assert "takes no new files: Permission denied" in outcome.err


def test_a_history_is_written_whole_or_not_at_all(run, lines, net, tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("what I had")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    arguments = ["--data", lines, "--model", net, "--epochs", 1, "--history", path, "--force"]
    outcome = run("train", *arguments)
    assert outcome.code == FAILED
    assert "No space left on device. The file that was there is as it was." in outcome.err
    assert path.read_text() == "what I had"
    # Python may keep net.py compiled
    assert {each.name for each in tmp_path.iterdir()} - {"__pycache__"} == {"net.py", "run.json"}


def test_divergence_goes_through_the_file(tmp_path):
    from convmill.cli.histories import read_history, write_history

    path = tmp_path / "run.json"
    write_history({"loss": [1.5, float("nan"), float("inf")], "mae": [1.0, 2.0, 3.0]}, path)
    assert json.loads(path.read_text())["loss"] == [1.5, None, None]
    history = read_history(path)
    assert history["loss"][0] == 1.5
    assert np.isnan(history["loss"][1:]).all()
    assert history["mae"] == [1, 2, 3]


@pytest.mark.parametrize("separator", [",", ";"])
def test_what_csv_logger_writes(run, tmp_path, separator):
    import keras

    from convmill.cli.histories import read_history

    path = tmp_path / "log.csv"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.ones((8, 2)), np.ones((8, 1))
    logger = keras.callbacks.CSVLogger(path, separator=separator)
    fitted = model.fit(x, y, epochs=3, validation_data=(x, y), callbacks=[logger], verbose=0)
    history = read_history(path)
    assert history.pop("epoch") == [0, 1, 2]
    assert history.keys() == fitted.history.keys()
    for name, values in history.items():
        assert values == pytest.approx(fitted.history[name])
    outcome = run("show", "curves", path, "--metric", "mae", "--out", tmp_path / "mae.png")
    assert outcome.code == 0
    assert is_picture(tmp_path / "mae.png")


def test_gaps_in_a_csv_file(tmp_path):
    from convmill.cli.histories import read_history

    path = tmp_path / "log.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["epoch", "loss", "val_loss"], [0, "nan", "NA"], [1, 2, 3]])
    history = read_history(path)
    assert np.isnan(history["loss"][0])
    assert history["val_loss"] == [None, 3]


def test_several_runs(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"history": {"loss": [2, 1], "val_loss": [2, NaN]}}')
    outcome = run("show", "curves", "a.json", "b.json", "--dark")
    assert (outcome.code, outcome.out) == (0, "a-curves.png\n")
    apart = (tmp_path / "a-curves.png").read_bytes()
    assert run("show", "curves", "a.json", "b.json", "--dark", "--mean").code == 0
    assert (tmp_path / "a-curves.png").read_bytes() != apart


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.json", "b.csv"], ["a", "b"]),
        (["a.json", "a.csv"], ["a.json", "a.csv"]),
        (["one/run.json", "two/run.json"], ["one/run.json", "two/run.json"]),
        (["a.json", "a.json"], ["1 a.json", "2 a.json"]),
    ],
)
def test_what_tells_files_apart(files, names):
    from convmill.cli.histories import names_of

    assert names_of([Path(file) for file in files]) == names


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", b"", "is no history"),
        ("run.json", b"[1, 2]", "no object of lists"),
        ("run.json", b'{"loss": 1}', "no object of lists"),
        ("run.json", b"{}", "Received: nothing"),
        ("run.json", b'{"loss": ["much", "less"]}', "Received: loss"),
        ("run.json", b"[" * 100_000, "is no history"),
        ("run.json", b"\xff\xfe\x00", "is no history"),
        ("run.csv", b"", "Received: nothing"),
        ("run.csv", b"epoch,loss\n0,much\n", "'much' in line 2"),
        ("run.csv", b"epoch,loss\n0,1,2\n", "more or fewer values than names in line 2"),
        ("run.csv", b"epoch,loss\n0\n", "more or fewer values"),
        ("run.csv", b"epoch,loss,loss\n0,1,2\n", "more than one column named 'loss'"),
        ("run.txt", b"loss", "a .json or .csv file"),
    ],
)
def test_files_that_hold_no_history(run, tmp_path, monkeypatch, name, content, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    outcome = run("show", "curves", name)
    assert outcome.code == FAILED
    assert outcome.err.startswith("Error: ")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_an_unknown_metric(run, tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"loss": [2, 1], "accuracy": [0.5, 0.6]}')
    outcome = run("show", "curves", path, "--metric", "acuracy")
    assert outcome.code == FAILED
    assert "Did you mean 'accuracy'?" in outcome.err
