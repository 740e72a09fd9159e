"""``convmill train`` from data to a saved model, and what is wrong with a user's data or model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.lines import arrays

FAILED = 1

SCRIPT = """
import keras

def build(input_shape, classes):
    print("building")
    return keras.Sequential([
        keras.Input(input_shape), keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])

def one_output():
    return keras.Sequential([
        keras.Input((12, 12, 1)), keras.layers.Flatten(),
        keras.layers.Dense(1, activation="sigmoid"),
    ])

def unbuilt(classes):
    return keras.Sequential([
        keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax"),
    ])

def sparse():
    model = build((12, 12, 1), 3)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def large():
    return build((28, 28, 1), 3)

class Own(keras.Model):
    def call(self, x):
        return x

def subclassed():
    return Own()

def too_deep(input_shape):
    return keras.Sequential([keras.layers.Conv2D(4, 20), keras.layers.Flatten()])

def nothing():
    return None

def broken():
    return 1 / 0

def leaving():
    raise SystemExit(0)

def too_many(first, second):
    return build(first, second)

value = 3
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SCRIPT)
    return path


def weights(path) -> bytes:
    import keras

    return b"".join(each.tobytes() for each in keras.saving.load_model(path).get_weights())


def test_the_default_model_learns_and_is_saved(run, lines, trained):
    outcome = run("evaluate", trained, "--data", lines, "--json")
    assert outcome.code == 0
    assert outcome.json["images"] == 24
    assert outcome.json["test"]["accuracy"] > 0.9


@pytest.mark.parametrize(("classes", "units"), [(3, 3), (2, 1)])
def test_a_model_that_ends_in_logits(run, tmp_path, classes, units):
    """It is trained on logits, and what is saved says so."""
    import keras

    data, path, net = arrays(), tmp_path / "few.npz", tmp_path / "logits.py"
    few = {part: data[f"y_{part}"] < classes for part in ("train", "test")}
    kept = {f"{name}_{part}": data[f"{name}_{part}"][few[part]] for name in "xy" for part in few}
    np.savez(path, **kept)
    net.write_text(
        "import keras\n"
        "def build(input_shape):\n"
        "    from keras.layers import Dense, Flatten, Input\n"
        f"    layers = [Flatten(), Dense(32, 'relu'), Dense({units})]\n"
        "    return keras.Sequential([Input(input_shape), *layers])\n"
    )
    arguments = ("--data", path, "--model", f"{net}:build", "--epochs", 100, "--seed", 1)
    trained = run("train", *arguments, "--out", tmp_path / "net.keras", "--json")
    assert trained.code == 0
    model = keras.saving.load_model(tmp_path / "net.keras")
    assert model.loss.from_logits
    x = np.expand_dims(kept["x_test"], -1).astype("float32") / 255
    outputs = model.predict(x, verbose=0)
    said = (outputs[:, 0] > 0).astype(int) if units == 1 else outputs.argmax(axis=1)
    assert trained.json["test"]["accuracy"] == pytest.approx(np.mean(said == kept["y_test"]))
    assert trained.json["test"]["accuracy"] > 0.9


def test_json_is_all_that_stdout_holds(run, lines, script):
    outcome = run(
        "train", "--data", lines, "--model", f"{script}:build", "--epochs", 2, "--seed", 3, "--json"
    )
    assert outcome.code == 0
    result = outcome.json
    assert result["data"] == str(lines)
    assert result["seed"] == 3
    assert result["parameters"] == 12 * 12 * 3 + 3
    assert len(result["history"]["loss"]) == 2
    assert set(result["test"]) == {"loss", "accuracy"}
    assert result["compiled"] is True
    assert result["fit_seconds"] > 0
    assert result["compile_seconds"] > 0
    assert result["saved"] is None
    assert "building" in outcome.err


def test_text_names_data_model_scores_and_file(run, lines, script, tmp_path):
    out = tmp_path / "net.keras"
    outcome = run(
        "train", "--data", lines, "--model", f"{script}:build", "--epochs", 1, "--out", out
    )
    assert outcome.code == 0
    assert "96 images to learn from and 24 to test on, 12x12, 3 classes" in outcome.out
    assert "435 parameters; seed " in outcome.out
    assert "Test on 24 images" in outcome.out
    assert f"Saved {out}" in outcome.out
    assert out.is_file()


def test_same_seed_same_weights(run, lines, script, tmp_path):
    def train(name: str, *more: object) -> bytes:
        out = tmp_path / name
        arguments = ["train", "--data", lines, "--model", f"{script}:build", "--epochs", 2]
        assert run(*arguments, "--out", out, *more).code == 0
        return weights(out)

    first = train("a.keras", "--seed", 7)
    assert train("b.keras", "--seed", 7, "--threads", 2) == first
    assert train("c.keras", "--seed", 8) != first


def test_a_saved_model_goes_on_with_its_optimizer(run, lines, script, tmp_path):
    import keras

    def iterations(path) -> tuple[str, int]:
        optimizer = keras.saving.load_model(path).optimizer
        return type(optimizer).__name__, int(optimizer.iterations)

    first, second, third = (tmp_path / f"{name}.keras" for name in "abc")
    start = ["train", "--data", lines, "--epochs", 1, "--batch-size", 32]
    assert run(*start, "--model", f"{script}:sparse", "--out", first).code == 0
    assert iterations(first) == ("SGD", 3)
    assert run(*start, "--model", first, "--out", second).code == 0
    assert iterations(second) == ("SGD", 6)
    assert run(*start, "--model", first, "--optimizer", "adam", "--out", third).code == 0
    assert iterations(third) == ("Adam", 3)


def test_a_model_without_input_is_built(run, lines, script):
    outcome = run("train", "--data", lines, "--model", f"{script}:unbuilt", "--epochs", 1)
    assert outcome.code == 0
    assert "435 parameters" in outcome.out


def test_one_output_tells_two_classes_apart(run, tmp_path, script):
    two = {name: values[np.arange(len(values)) % 3 < 2] for name, values in arrays().items()}
    np.savez(tmp_path / "two.npz", **two)
    model = f"{script}:one_output"
    outcome = run("train", "--data", tmp_path / "two.npz", "--model", model, "--json")
    assert outcome.code == 0
    assert np.isfinite(outcome.json["test"]["loss"])
    outcome = run("train", "--data", tmp_path / "two.npz", "--model", f"{script}:nothing")
    assert outcome.code == FAILED


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "must return a Keras model. Received: NoneType"),
        ("broken", "line 44: ZeroDivisionError: division by zero"),
        ("leaving", "SystemExit"),
        ("missing", "has no function 'missing'"),
        ("value", "has no function 'value'"),
        ("too_many", "TypeError"),
        (
            "subclassed",
            "Sequential or functional. Received: Own",
        ),
        ("too_deep", "Received"),
        ("large", "The model reads images of 28x28x1. Received: "),
        ("one_output", "The model tells 2 classes apart. Received: data of 3"),
    ],
)
def test_what_is_wrong_with_a_script_is_said(run, lines, script, function, said):
    outcome = run("train", "--data", lines, "--model", f"{script}:{function}")
    assert outcome.code == FAILED
    assert said in outcome.err


def test_a_script_with_a_mistake_in_its_grammar(run, lines, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("x = 1\ndef build(:\n")
    outcome = run("train", "--data", lines, "--model", f"{path}:build")
    assert outcome.code == FAILED
    assert "bad.py, line 2: SyntaxError" in outcome.err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no more", b"no archive at all"])
def test_data_that_is_damaged(run, tmp_path, content):
    path = tmp_path / "set.npz"
    path.write_bytes(content)
    outcome = run("train", "--data", path)
    assert outcome.code == FAILED
    assert str(path) in outcome.err


def test_one_class_cannot_be_learnt(run, tmp_path):
    values = arrays(1)
    values["y_train"] *= 0
    values["y_test"] *= 0
    np.savez(tmp_path / "one.npz", **values)
    outcome = run("train", "--data", tmp_path / "one.npz")
    assert outcome.code == FAILED
    assert "at least two classes" in outcome.err


@pytest.mark.parametrize("part", ["train", "test"])
def test_pixels_that_are_not_finite(run, tmp_path, script, part):
    values = arrays(1)
    values[f"x_{part}"] = values[f"x_{part}"].astype(np.float32)
    values[f"x_{part}"][5] = np.nan
    np.savez(tmp_path / "nan.npz", **values)
    command = ["train", "--data", tmp_path / "nan.npz", "--model", f"{script}:build"]
    outcome = run(*command, "--out", tmp_path / "net.keras")
    assert outcome.code == FAILED
    assert f"nan.npz, {part} part: x_{part} must hold finite numbers" in outcome.err
    assert f"x_{part}[5" in outcome.err
    assert not (tmp_path / "net.keras").exists()


def test_twenty_images_are_enough(run, tmp_path):
    values = {name: each[: 20 if "train" in name else 3] for name, each in arrays().items()}
    np.savez(tmp_path / "small.npz", **values)
    outcome = run("train", "--data", tmp_path / "small.npz", "--epochs", 1, "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["test"]["loss"] > 0
