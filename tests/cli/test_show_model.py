"""``convmill show``: what a model holds and what its layers make of an image."""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.cli.lines import SIZE, draw

FAILED, WRONG_USAGE = 1, 2
COMMANDS = ("filters", "responses", "patch", "maximize", "field")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def names(trained):
    """The names of the three convolutions: Keras counts them over all models of the process."""
    with zipfile.ZipFile(trained) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    return [layer["config"]["name"] for layer in layers if layer["class_name"] == "Conv2D"]


@pytest.fixture
def arguments(lines, names):
    """What each command needs besides the model, to be quick."""
    return {
        "filters": (),
        "responses": ("--data", lines, "--index", 4),
        "patch": ("--data", lines, "--filter", 1, "--place", 3, 4),
        "maximize": ("--filter", 0, "--filter", 5, "--steps", 2),
        "field": ("--layer", names[1], "--data", lines),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_picture_beside_no_other_file(run, trained, arguments, tmp_path, command):
    outcome = run("show", command, trained, *arguments[command])
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"lines-{command}.png\n"
    assert os.listdir(tmp_path) == [f"lines-{command}.png"]
    with Image.open(tmp_path / f"lines-{command}.png") as picture:
        assert picture.width == 1400
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("command", COMMANDS)
def test_svg_on_a_dark_ground(run, trained, arguments, tmp_path, command):
    path = tmp_path / "picture.SVG"
    outcome = run("show", command, trained, *arguments[command], "--out", path, "--dark")
    assert (outcome.code, outcome.out) == (0, f"{path}\n")
    text = path.read_text()
    assert text.startswith("<?xml")
    assert "#15181c" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_options_ask_for_is_what_the_function_gets(
    run, trained, lines, names, monkeypatch, command
):
    from convmill import view

    functions = {
        "patch": "patches",
        "maximize": "activation_maximization",
        "field": "receptive_field",
    }
    name = functions.get(command, command)
    real, calls = getattr(view, name), []
    monkeypatch.setattr(view, name, lambda *a, **k: (calls.append((a, k)), real(*a, **k))[1])
    options = {
        "filters": ("--layer", names[1], "--channel", 3),
        "responses": ("--data", lines, "--index", 5, "--layer", names[1], "--most", 7),
        "patch": ("--data", lines, "--index", 5, "--place", 1, 2, "--channel", 0, "--filter", 3),
        "maximize": ("--layer", names[2], "--filter", 3, "--steps", 1, "--seed", 8),
        "field": ("--layer", names[1], "--unit", 1, 2, "--data", lines, "--index", 5),
    }
    expected = {
        "filters": {"layer": names[1], "channel": 3},
        "responses": {"layer": names[1], "most": 7},
        "patch": {"place": (1, 2), "channel": 0, "filter": 3, "layer": None},
        "maximize": {"layer": names[2], "filters": (3,), "steps": 1, "seed": 8},
        "field": {"layer": names[1], "unit": (1, 2), "image": None},
    }
    assert run("show", command, trained, *options[command]).code == 0
    ((_, *given), keywords) = calls[0]
    values = list(keywords.values())
    layer = keywords.pop("layer", None) or next((a for a in given if isinstance(a, str)), None)
    found = keywords | {"layer": layer}
    assert {key: found[key] for key in expected[command]} == expected[command]
    images = [one for one in [*given, *values] if isinstance(one, np.ndarray)]
    fifth = draw(2, 3)[..., np.newaxis] / 255  # test images go through the classes by turns
    assert len(images) == (command in ("responses", "patch", "field"))
    for batch in images:
        np.testing.assert_allclose(batch[0], fifth, rtol=1e-6)
        assert len(batch) == (19 if command == "field" else 1)


def test_a_picture_file_is_prepared_as_predict_does(run, trained, tmp_path):
    Image.fromarray(255 - draw(0, 5)).resize((SIZE * 3, SIZE * 3)).save("black-on-white.jpg")
    Image.fromarray(draw(0, 5)).resize((SIZE * 3, SIZE * 3)).save("white-on-black.png")
    pictures = []
    for name in ("black-on-white.jpg", "white-on-black.png"):
        assert run("show", "responses", trained, "--image", name, "--out", "r.png").code == 0
        with Image.open("r.png") as picture:
            pictures.append(np.asarray(picture.convert("L"), float))
    assert np.abs(pictures[0] - pictures[1]).mean() < 2  # but for what JPEG loses


def test_a_picture_file_is_centred_or_inverted_where_asked(run, trained, tmp_path):
    corner = np.zeros((36, 36), np.uint8)
    corner[:12, :12] = draw(0, 5)
    Image.fromarray(corner).save("corner.png")
    pictures = {}
    for options in ((), ("--center",), ("--invert",), ("--no-invert",)):
        arguments = ("--image", "corner.png", *options, "--most", 3, "--out", "r.png")
        assert run("show", "responses", trained, *arguments).code == 0
        pictures[options] = (tmp_path / "r.png").read_bytes()
    assert pictures["--no-invert",] == pictures[()]
    assert len(set(pictures.values())) == 3


@pytest.mark.parametrize("command", ["responses", "field"])
@pytest.mark.parametrize("option", ["--center", "--invert", "--no-invert"])
def test_preparing_what_is_no_picture_file(run, trained, arguments, command, option):
    outcome = run("show", command, trained, *arguments[command], option)
    assert outcome.code == WRONG_USAGE
    assert option.replace("no-", "") in outcome.err
    assert "--image FILE, which is not given" in outcome.err


# What cannot be done ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_a_layer_that_is_not_there(run, trained, arguments, names, tmp_path, command):
    wrong = names[1].replace("d", "e")
    outcome = run("show", command, trained, *arguments[command], "--layer", wrong)
    assert outcome.code == FAILED
    assert outcome.err.startswith("Error: layer must name a ")
    assert f"Received: layer='{wrong}'" in outcome.err
    assert f"Nearest: {names[1]}" in outcome.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("picture.jpg", "must end in .png or .svg. Received: picture.jpg"),
        ("picture", "must end in .png or .svg"),
        ("nowhere/picture.png", "There is no folder nowhere"),
        ("folder.png", "is a folder"),
    ],
)
def test_names_that_can_be_no_pictures(run, trained, tmp_path, out, said):
    (tmp_path / "folder.png").mkdir()
    outcome = run("show", "filters", trained, "--out", out)
    assert outcome.code == WRONG_USAGE
    assert "--out" in outcome.err
    assert said in outcome.err


def test_a_picture_that_is_there_is_replaced(run, trained, tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    path.chmod(0o640)
    assert run("show", "filters", trained, "--out", path).code == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_leads_to_the_picture(run, trained, tmp_path):
    target, link = tmp_path / "real.png", tmp_path / "link.png"
    link.symlink_to(target)
    assert run("show", "filters", trained, "--out", link).code == 0
    assert link.is_symlink()
    assert target.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_old_picture_survives_a_full_disk(run, trained, tmp_path, monkeypatch, step):
    path = tmp_path / "picture.png"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    outcome = run("show", "filters", trained, "--out", path)
    assert outcome.code == FAILED
    assert "could not be written: No space left on device. The file that was there" in outcome.err
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["picture.png"]


def test_a_picture_and_a_data_set(run, trained, lines, tmp_path):
    Image.fromarray(draw(0, 5)).save("a.png")
    outcome = run("show", "responses", trained, "--image", "a.png", "--data", lines)
    assert outcome.code == WRONG_USAGE
    assert "not both" in outcome.err


@pytest.mark.parametrize("command", ["responses", "patch", "field"])
@pytest.mark.parametrize("index", [0, 7])
def test_a_picture_and_an_index(run, trained, names, tmp_path, command, index):
    Image.fromarray(draw(0, 5)).save("a.png")
    layer = ("--layer", names[1])
    outcome = run("show", command, trained, *layer, "--image", "a.png", "--index", index)
    assert outcome.code == WRONG_USAGE
    assert "--index" in outcome.err
    assert "and --image FILE is given." in outcome.err
    assert os.listdir(tmp_path) == ["a.png"]


def test_an_index_beyond_the_test_images(run, trained, lines):
    outcome = run("show", "responses", trained, "--data", lines, "--index", 24)
    assert outcome.code == WRONG_USAGE
    assert "has 24 test images, counted from 0. Received: 24" in outcome.err


def test_an_index_of_no_data(run, trained, names):
    outcome = run("show", "field", trained, "--layer", names[1], "--index", 3)
    assert outcome.code == WRONG_USAGE
    assert "--data NAME, which is not given" in outcome.err


def test_images_of_another_size(run, trained):
    outcome = run("show", "responses", trained, "--data", "digits")
    assert outcome.code == FAILED
    assert "The model reads images of 12x12x1. Received: digits, 28x28." in outcome.err


def test_a_file_that_is_no_picture(run, trained, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    outcome = run("show", "responses", trained, "--image", "a.png")
    assert outcome.code == FAILED
    assert "a.png: no PNG or JPEG picture." in outcome.err


def test_a_file_that_is_no_model(run, tmp_path):
    (tmp_path / "a.keras").write_text("no model")
    outcome = run("show", "filters", "a.keras")
    assert outcome.code == FAILED
    assert "is no Keras model" in outcome.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("filters", "--channel", 1), "channel must be a whole number from 0 to 0"),
        (("maximize", "--filter", 32), "filters must be a whole number from 0 to 31"),
        (("field", "--layer", None, "--unit", 99, 0), "unit must be (row, column)"),
    ],
)
def test_numbers_beyond_the_model(run, trained, names, options, said):
    command, *rest = (names[0] if option is None else option for option in options)
    outcome = run("show", command, trained, *rest)
    assert outcome.code == FAILED
    assert said in outcome.err


def test_filters_of_a_model_of_several_inputs(run, tmp_path):
    import keras

    images = [keras.Input((8, 8, 1)), keras.Input((9, 9, 2))]
    keras.Model(images, [keras.layers.Conv2D(2, 3)(image) for image in images]).save("two.keras")
    assert run("show", "filters", "two.keras").code == 0
    outcome = run("show", "maximize", "two.keras")
    assert outcome.code == FAILED
    assert "models that read one image" in outcome.err


def test_channels_of_groups(run, lines, tmp_path):
    import keras

    layers = [keras.layers.Conv2D(4, 1), keras.layers.Conv2D(4, 3, groups=2, name="grouped")]
    keras.Sequential([keras.Input((12, 12, 1)), *layers]).save("groups.keras")
    command = ("show", "patch", "groups.keras", "--layer", "grouped", "--data", lines)
    assert run(*command, "--filter", 3).code == 0
    assert run(*command, "--filter", 3, "--channel", 3).code == 0
    outcome = run(*command, "--filter", 3, "--channel", 1)
    assert outcome.code == FAILED
    assert "channel must be one that filter 3 reads, a whole number from 2 to 3." in outcome.err


def test_without_data_mnist_or_digits_are_taken(run, tmp_path, monkeypatch):
    import keras

    from convmill import data

    digits = data.load("digits")
    monkeypatch.setattr(data, "load_mnist_or_digits", lambda: (digits, "MNIST is not to be had"))
    layer = keras.layers.Conv2D(2, 3)
    keras.Sequential([keras.Input((28, 28, 1)), layer]).save("fits.keras")
    keras.Sequential([keras.Input((28, 28, 3)), layer.from_config(layer.get_config())]).save(
        "other.keras"
    )
    outcome = run("show", "responses", "fits.keras")
    assert (outcome.code, outcome.out) == (0, "fits-responses.png\n")
    assert "MNIST is not to be had" in outcome.err
    outcome = run("show", "responses", "other.keras")
    assert outcome.code == FAILED
    assert "Received: digits, 28x28. Give --image FILE or --data NAME." in outcome.err


@pytest.mark.parametrize(("shape", "code"), [((12, 12), 0), ((144,), FAILED)])
def test_a_picture_file_for_models_of_other_axes(run, tmp_path, shape, code):
    import keras

    square = [keras.layers.Reshape((12, 12, 1)), keras.layers.Conv2D(2, 3)]
    keras.Sequential([keras.Input(shape), *square]).save("other.keras")
    Image.fromarray(draw(0, 5)).save("a.png")
    outcome = run("show", "responses", "other.keras", "--image", "a.png")
    assert outcome.code == code
    assert code == 0 or "Received: a model that reads (144,)." in outcome.err


def test_weights_that_are_not_finite(run, lines, tmp_path):
    import keras

    layer = keras.layers.Conv2D(2, 3, kernel_initializer=keras.initializers.Constant(np.nan))
    keras.Sequential([keras.Input((12, 12, 1)), layer]).save("nan.keras")
    for command in ("filters", "responses", "patch", "maximize", "field"):
        data = () if command in ("filters", "maximize") else ("--data", lines)
        named = ("--layer", layer.name) if command == "field" else ()
        outcome = run("show", command, "nan.keras", *data, *named)
        assert outcome.code == FAILED
        assert "its training may have diverged. Received: NaN or infinity" in outcome.err
    assert os.listdir(tmp_path) == ["nan.keras"]


@pytest.mark.parametrize("command", ["responses", "patch", "field", "maximize"])
def test_pixels_of_another_range(run, trained, arguments, names, tmp_path, command):
    few = ("--layer", names[0], "--most", 3) if command == "responses" else ()
    show = ("show", command, trained, *arguments[command], *few)
    pictures = []
    for given in ((), ("--pixels", "0..1"), ("--pixels", "-1..1"), ("--pixels=-1..1",)):
        assert run(*show, *given, "--out", "a.svg").code == 0
        pictures.append((tmp_path / "a.svg").read_bytes())
    assert pictures[0] != pictures[2] == pictures[3]
    if command != "maximize":  # which says that 0..1 is assumed
        assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("pixels", "code", "said"),
    [
        ("1", WRONG_USAGE, "Received: 1"),
        ("a..b", WRONG_USAGE, "such as -1..1"),
        ("0,..1", WRONG_USAGE, "Received: 0,..1"),
        ("1..0", FAILED, "Received: pixels=(1.0, 0.0)"),
        ("0..inf", FAILED, "pixels must be"),
        ("0,0,0..1,1,1", FAILED, "two lists of 1 numbers, one for each channel"),
    ],
)
@pytest.mark.parametrize("command", ["maximize", "responses"])
def test_what_is_no_range_of_pixels(run, trained, lines, pixels, code, said, command):
    data = ("--data", lines) if command == "responses" else ()
    outcome = run("show", command, trained, *data, "--pixels", pixels)
    assert outcome.code == code
    assert said in " ".join(outcome.err.split())


def test_pixels_for_each_channel(run, lines, tmp_path):
    import keras

    layers = [keras.layers.Conv2D(2, 3, name="see")]
    keras.Sequential([keras.Input((12, 12, 3)), *layers]).save("colours.keras")
    Image.fromarray(np.stack([draw(0, 5)] * 3, axis=2)).save("a.png")
    command = ("show", "responses", "colours.keras", "--image", "a.png")
    assert run(*command, "--pixels", "-104,-117,-124..151,138,131").code == 0
    assert run("show", "field", "colours.keras", "--layer", "see", "--pixels", "0..1,2,3").code == 0
