"""``convmill inspect``: on the examples, on saved models, and where it cannot be done."""

from __future__ import annotations

from pathlib import Path

import pytest

DESIGNS = Path(__file__).parents[2] / "examples" / "designs.py"
FAILED, USAGE = 1, 2

BUILDERS = """
import keras
from keras import layers

def too_large():
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, name="fits"),
                             layers.Conv2D(4, 7, name="large")])

def too_large_inside():
    image = keras.Input((8, 8, 1))
    inner = keras.Sequential([layers.Conv2D(2, 9, name="deep")], name="inner")
    return keras.Model(image, inner(image))

def not_built():
    return keras.Sequential([layers.Conv2D(4, 3), layers.MaxPooling2D(9, name="pooling"),
                             layers.Conv2D(4, 3)])

def own_size():
    return keras.Sequential([keras.Input((9, 9, 2)), layers.Conv2D(4, 3)])

def noisy():
    print("thinking")
    return own_size()

class Own(keras.Model):
    def call(self, x):
        return x

def written_in_python():
    return Own()

def broken():
    return 1 / 0

def number():
    return 3
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(BUILDERS)
    return path


def test_the_notebook_net(run):
    outcome = run("inspect", f"{DESIGNS}:notebook")
    assert outcome.code == 0
    assert outcome.out.startswith("notebook: before training\n")
    assert "conv2d_2" in outcome.out
    assert "18x18" in outcome.out
    assert "leave 1 row and 1 column of 11x11" in " ".join(outcome.out.split())


def test_designs_side_by_side(run):
    outcome = run("inspect", f"{DESIGNS}:notebook", "--compare", f"{DESIGNS}:unpooled", "--json")
    found = outcome.json
    assert [found[each]["name"] for each in "ab"] == ["notebook", "unpooled"]
    assert found["aligned_layers"][1:4] == [
        ["conv2d", "conv2d"],
        ["max_pooling2d", None],
        ["conv2d_1", "conv2d_1"],
    ]
    rules = [finding["rule"] for finding in found["b"]["findings"]]
    assert rules == ["small field", "wide flatten"]


@pytest.mark.parametrize(
    ("names", "files", "said"),
    [
        (("pooled", "plain"), ("one.keras", "two.keras"), ("pooled", "plain")),
        ((None, None), ("one.keras", "two.keras"), ("one.keras", "two.keras")),
        (("net", "net"), ("one.keras", "two.keras"), ("one.keras", "two.keras")),
        (("sequential_3", "sequential_7"), ("one.keras", "two.keras"), ("one.keras", "two.keras")),
        (("functional", "plain"), ("one.keras", "two.keras"), ("one.keras", "two.keras")),
        ((None, None), ("a/net.keras", "b/net.keras"), ("a/net.keras", "b/net.keras")),
    ],
)
def test_designs_are_told_apart_by_their_files(run, tmp_path, monkeypatch, names, files, said):
    from keras import Input, Sequential, layers

    monkeypatch.chdir(tmp_path)
    for name, file in zip(names, files, strict=True):
        Path(file).parent.mkdir(exist_ok=True)
        Sequential([Input((8, 8, 1)), layers.Conv2D(4, 3)], name=name).save(file)
    outcome = run("inspect", files[0], "--compare", files[1], "--markdown")
    assert outcome.out.startswith(f"## A: {said[0]} B: {said[1]}\n".replace("_", "\\_"))
    found = run("inspect", files[0], "--compare", files[1], "--json").json
    assert (found["a"]["name"], found["b"]["name"]) == said


def test_functions_whose_models_have_no_name(run, script):
    found = run("inspect", f"{script}:own_size", "--compare", f"{script}:not_built", "--json").json
    assert [found[each]["name"] for each in "ab"] == ["net.py:own_size", "net.py:not_built"]


def test_json_has_nothing_else(run, script):
    outcome = run("inspect", f"{script}:noisy", "--json")
    assert outcome.json["totals"]["parameters"] == 4 * (9 * 2 + 1)
    assert "thinking" in outcome.err


def test_markdown(run):
    outcome = run("inspect", f"{DESIGNS}:unpooled", "--markdown")
    assert outcome.code == 0
    assert outcome.out.startswith("## unpooled: before training\n\n| layer | output |")


def test_a_saved_model(run, trained):
    outcome = run("inspect", trained, "--json", "--images", 96)
    assert outcome.code == 0
    assert list(outcome.json["inputs"].values()) == [[12, 12, 1]]
    assert outcome.json["training_images"] == 96


def test_input_shape_is_given_to_the_function(run):
    outcome = run("inspect", f"{DESIGNS}:unpooled", "--input-shape", "32x20x3", "--json")
    assert list(outcome.json["inputs"].values()) == [[32, 20, 3]]


def test_input_shape_of_a_function_that_takes_none(run, script):
    found = run("inspect", f"{script}:own_size", "--json").json
    assert list(found["inputs"].values()) == [[9, 9, 2]]
    found = run("inspect", f"{script}:own_size", "--input-shape", "5x5x2", "--json").json
    assert list(found["inputs"].values()) == [[5, 5, 2]]


DEFAULTS = """
from keras import Input, Sequential, layers

def both(input_shape=(32, 30, 3), classes=100):
    return Sequential([Input(input_shape), layers.Flatten(), layers.Dense(classes, name="out")])

def keywords(*, classes=100, input_shape=(32, 30, 3)):
    return both(input_shape, classes)

def shape_alone(classes, input_shape=(32, 30, 3)):
    return both(input_shape, classes)

def classes_alone(input_shape, classes=100):
    return both(input_shape, classes)

def neither(input_shape, classes):
    return both(input_shape, classes)

class Net:
    def __new__(cls, input_shape=(32, 30, 3), classes=100):
        return both(input_shape, classes)
"""


@pytest.mark.parametrize(
    ("function", "shape", "classes"),
    [
        ("both", [32, 30, 3], 100),
        ("keywords", [32, 30, 3], 100),
        ("shape_alone", [32, 30, 3], 10),
        ("classes_alone", [28, 28, 1], 100),
        ("neither", [28, 28, 1], 10),
        ("Net", [32, 30, 3], 100),
    ],
)
def test_a_function_s_own_defaults(run, tmp_path, lines, function, shape, classes):
    (tmp_path / "net.py").write_text(DEFAULTS)
    source = f"{tmp_path / 'net.py'}:{function}"
    found = run("inspect", source, "--json").json
    assert list(found["inputs"].values()) == [shape]
    assert found["layers"][-1]["output_shape"] == [classes]
    found = run("inspect", source, "--input-shape", "8x9x2", "--json").json
    assert list(found["inputs"].values()) == [[8, 9, 2]]
    assert found["layers"][-1]["output_shape"] == [classes]
    # Data tell both: lines are 12x12x1, of 3 classes.
    trained = run("train", "--data", lines, "--model", source, "--epochs", 1, "--json")
    assert trained.json["parameters"] == (12 * 12 + 1) * 3


def test_a_model_that_is_not_built(run, script):
    found = run("inspect", f"{script}:not_built", "--json").json
    assert list(found["inputs"].values()) == [[28, 28, 1]]


@pytest.mark.parametrize("compared", [False, True])
def test_a_dead_end_is_told_and_is_no_success(run, script, compared):
    other = ["--compare", f"{script}:own_size"] if compared else []
    command = ["inspect", f"{script}:not_built", *other, "--input-shape", "8x8x2"]
    outcome = run(*command, "--json")
    assert outcome.code == FAILED
    assert outcome.err.startswith("Error: ")
    assert "cannot be built at layer 'pooling': its window of 9x9" in outcome.err
    found = outcome.json["a"] if compared else outcome.json
    assert found["dead_end"]["layer"] == "pooling"
    assert found["findings"][0]["rule"] == "dead end"
    assert set(found["totals"].values()) == {None}
    assert found["totals_at_least"]["parameters"] == 4 * (2 * 9 + 1)
    if compared:
        assert set(outcome.json["ratios"].values()) == {None}
    for face in ([], ["--markdown"]):
        shown = run(*command, *face)
        assert shown.code == FAILED
        assert "Shapes end at pooling: all figures are of the part before it" in " ".join(
            shown.out.split()
        )


def test_a_model_of_any_size(run, tmp_path):
    from keras import Input, Sequential, layers

    path = tmp_path / "any.keras"
    Sequential([Input((None, None, 1)), layers.Conv2D(4, 3)]).save(path)
    outcome = run("inspect", path)
    assert outcome.code == FAILED
    assert "Give --input-shape HxWxC" in outcome.err
    assert run("inspect", path, "--input-shape", "9x9x1").code == 0


@pytest.mark.parametrize(
    ("own", "given", "said"),
    [
        ((28, 28, 1), "32x32", "must be HxWxC, such as 28x28x1. Received: 32x32"),
        ((None, None, 3), "32x32x3x1", "must be HxWxC, such as 32x32x3. Received: 32x32x3x1"),
        ((20, 2), "20x2x1", "must be LENGTHxCHANNELS, such as 20x2. Received: 20x2x1"),
        ((6,), "2x3", "must be VALUES, such as 6. Received: 2x3"),
    ],
)
def test_another_number_of_sizes_than_the_model_reads(run, tmp_path, own, given, said):
    from keras import Input, Sequential, layers

    path = tmp_path / "net.keras"
    Sequential([Input(own), layers.Dense(4)]).save(path)
    outcome = run("inspect", path, "--input-shape", given)
    assert (outcome.code, outcome.out) == (USAGE, "")
    assert "--input-shape" in outcome.err
    assert said in " ".join(outcome.err.split())


def test_sizes_of_a_model_along_one_axis(run, tmp_path):
    from keras import Input, Sequential, layers

    path = tmp_path / "net.keras"
    Sequential([Input((20, 2)), layers.Conv1D(4, 3)]).save(path)
    found = run("inspect", path, "--input-shape", "30x2", "--json").json
    assert list(found["inputs"].values()) == [[30, 2]]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("too_large", "Layer 'large' (Conv2D) cannot be built."),
        ("too_large_inside", "Layer 'deep' (Conv2D) cannot be built."),
        ("written_in_python", "defines call in Python"),
        ("broken", "ZeroDivisionError: division by zero"),
        ("number", "must return a Keras model. Received: int."),
        ("nobody", "has no function 'nobody'"),
        ("numbr", "has no function 'numbr'. Did you mean 'number'?"),
    ],
)
def test_functions_that_build_no_model(run, script, function, said):
    outcome = run("inspect", f"{script}:{function}")
    assert outcome.code == FAILED
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    assert said in outcome.err


def test_keras_filters_tracebacks_as_before(run, script):
    import keras

    run("inspect", f"{script}:too_large")
    assert keras.config.is_traceback_filtering_enabled()


def test_a_file_that_is_no_model(run, tmp_path):
    path = tmp_path / "text.keras"
    path.write_text("a model, I was told")
    outcome = run("inspect", path)
    assert outcome.code == FAILED
    assert outcome.err.startswith(f"Error: {path} is no Keras model")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.keras"], "There is no file missing.keras"),
        (["notes.txt"], "FILE.keras or SCRIPT.py:FUNCTION"),
        ([f"{DESIGNS}:notebook", "--compare", "missing.py:net"], "There is no file missing.py"),
        ([f"{DESIGNS}:notebook", "--input-shape", "28,28"], "Received: 28,28"),
        ([f"{DESIGNS}:notebook", "--input-shape", "28x0x1"], "such as 28x28x1"),
        ([f"{DESIGNS}:notebook", "--images", "0"], "--images"),
        ([f"{DESIGNS}:notebook", "--images", "1000000001"], "--images"),
        ([f"{DESIGNS}:notebook", "--batch-size", "1000000001"], "--batch-size"),
        ([f"{DESIGNS}:notebook", "--batch-size", "many"], "--batch-size"),
        ([f"{DESIGNS}:notebook", "--json", "--markdown"], "exclude each other"),
        ([f"{DESIGNS}:notebook", "--compair", "x"], "--compare"),
        ([], "MODEL"),
    ],
)
def test_wrong_usage(run, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").touch()
    outcome = run("inspect", *arguments)
    assert outcome.code == USAGE
    assert outcome.out == ""
    assert said in outcome.err


@pytest.mark.parametrize("columns", [40, 80])
def test_output_and_help_fit_the_terminal(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in (["--help"], [f"{DESIGNS}:notebook", "--compare", f"{DESIGNS}:unpooled"]):
        lines = run("inspect", *arguments).out.splitlines()
        examples = [line for line in lines if line.startswith("    convmill ")]
        assert max(len(line) for line in lines if line not in examples) <= columns
