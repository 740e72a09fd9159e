"""``convmill predict``: pictures in, classes out."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.cli.lines import draw

FAILED = 1


@pytest.fixture
def pictures(tmp_path):
    """One picture of each class."""
    paths = [tmp_path / f"{label}.png" for label in range(3)]
    for label, path in enumerate(paths):
        Image.fromarray(draw(label, 5)).save(path)
    return paths


def classes(outcome) -> list[str]:
    return [each["classes"][0]["name"] for each in outcome.json]


def test_each_picture_gets_its_class(run, trained, pictures):
    outcome = run("predict", trained, *pictures, "--json")
    assert outcome.code == 0
    assert classes(outcome) == ["0", "1", "2"]
    for each in outcome.json:
        probabilities = [one["probability"] for one in each["classes"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert each["inverted"] is False


def test_black_on_white_in_colour_and_larger(run, trained, tmp_path, pictures):
    for path in pictures:
        with Image.open(path) as image:
            ImageOps.invert(image).convert("RGB").resize((60, 60)).save(path.with_suffix(".jpg"))
    outcome = run("predict", trained, *(path.with_suffix(".jpg") for path in pictures), "--json")
    assert classes(outcome) == ["0", "1", "2"]
    assert all(each["inverted"] for each in outcome.json)


def test_text_is_one_line_a_picture(run, trained, pictures):
    outcome = run("predict", trained, *pictures, "--top", 1)
    assert outcome.code == 0
    shown = outcome.out.splitlines()
    assert len(shown) == 3
    for label, (path, line) in enumerate(zip(pictures, shown, strict=True)):
        assert line.startswith(f"{path}: {label} ")
        assert line.endswith("%")


def test_pictures_that_cannot_be_used_do_not_stop_the_others(run, trained, pictures, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    outcome = run("predict", trained, pictures[0], bad, pictures[2], "--json")
    assert outcome.code == FAILED
    assert classes(outcome) == ["0", "2"]
    assert f"{bad}: no PNG or JPEG picture." in outcome.err
    assert "1 of 3 pictures" in outcome.err
    outcome = run("predict", trained, bad, "--json")
    assert outcome.code == FAILED
    assert outcome.json == []


def test_names_of_classes_ride_in_the_file(run, tmp_path, pictures):
    for part, places in (("train", (2, 4, 6, 8)), ("test", (3, 7))):
        for label, name in enumerate(("level", "slanting", "upright")):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for place in places:
                image = Image.fromarray(255 - draw((1, 2, 0)[label], place))
                image.save(folder / f"{place}.png")
    model = tmp_path / "photos.keras"
    arguments = ["train", "--data", tmp_path / "photos", "--epochs", 40, "--optimizer", "adam"]
    assert run(*arguments, "--seed", 1, "--batch-size", 4, "--out", model).code == 0
    outcome = run("predict", model, *pictures, "--json")
    assert classes(outcome) == ["upright", "level", "slanting"]
    # These were white on black; the model learnt black on white.
    assert all(each["inverted"] for each in outcome.json)


def test_names_that_would_steer_the_terminal_are_made_harmless(run, trained, tmp_path, pictures):
    model = tmp_path / "model.keras"
    with zipfile.ZipFile(trained) as old, zipfile.ZipFile(model, "w") as new:
        for member in old.namelist():
            if member != "convmill.json":
                new.writestr(member, old.read(member))
        names = ["\x1b[31mred", "\rover", "x\u202ey"]
        new.writestr("convmill.json", json.dumps({"class_names": names, "background": "dark"}))
    outcome = run("predict", model, pictures[0])
    assert outcome.code == 0
    assert not set("\x1b\r\u202e") & set(outcome.out)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"class_names": 3, "background": 4}', b"\xff", b"[" * 9999]
)
def test_a_card_that_makes_no_sense_is_passed_over(run, trained, tmp_path, pictures, content):
    model = tmp_path / "model.keras"
    with zipfile.ZipFile(trained) as old, zipfile.ZipFile(model, "w") as new:
        for member in old.namelist():
            new.writestr(member, content if member == "convmill.json" else old.read(member))
    assert classes(run("predict", model, *pictures, "--json")) == ["0", "1", "2"]


def saved_model(path, layers) -> None:
    import keras

    keras.Sequential(layers).save(path)


def test_outputs_that_are_no_probabilities(run, tmp_path, pictures):
    import keras

    path = tmp_path / "logits.keras"
    layers = [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    saved_model(path, layers)
    outcome = run("predict", path, pictures[0], "--json")
    probabilities = [one["probability"] for one in outcome.json[0]["classes"]]
    assert sum(probabilities) == pytest.approx(1)
    assert min(probabilities) > 0


def test_outputs_are_read_as_show_reads_them(run, tmp_path, pictures):
    """Several sigmoids are probabilities, though their sum is not 1."""
    import keras

    from convmill.view.predictions import classify

    path = tmp_path / "sigmoids.keras"
    dense = keras.layers.Dense(3, activation="sigmoid")
    saved_model(path, [keras.Input((12, 12, 1)), keras.layers.Flatten(), dense])
    outcome = run("predict", path, *pictures, "--json")
    x = np.stack([np.asarray(Image.open(each)) for each in pictures])[..., np.newaxis] / 255
    expected = classify(keras.saving.load_model(path), x, [0, 1, 2])[0].probabilities
    for each, row in zip(outcome.json, expected, strict=True):
        found = {one["index"]: one["probability"] for one in each["classes"]}
        assert [found[index] for index in range(3)] == pytest.approx(row.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "weight", "said"),
    [("mse", 9.0, "model must give probabilities"), (None, np.nan, "model must give finite")],
)
def test_outputs_that_make_no_sense(run, tmp_path, pictures, loss, weight, said):
    import keras

    path = tmp_path / "wrong.keras"
    dense = keras.layers.Dense(3, kernel_initializer=keras.initializers.Constant(weight))
    model = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), dense])
    if loss is not None:
        model.compile("sgd", loss)
    model.save(path)
    outcome = run("predict", path, pictures[0])
    assert outcome.code == FAILED
    assert outcome.err.startswith(f"Error: {said}")


def test_one_output_gives_two_classes(run, tmp_path, pictures):
    import keras

    path = tmp_path / "one.keras"
    dense = keras.layers.Dense(1, activation="sigmoid")
    saved_model(path, [keras.Input((12, 12, 1)), keras.layers.Flatten(), dense])
    outcome = run("predict", path, pictures[0], "--json")
    best, other = outcome.json[0]["classes"]
    assert {best["index"], other["index"]} == {0, 1}
    assert best["probability"] + other["probability"] == pytest.approx(1)


def test_models_that_read_no_pictures(run, tmp_path, pictures):
    import keras

    path = tmp_path / "rows.keras"
    saved_model(path, [keras.Input((7,)), keras.layers.Dense(3)])
    outcome = run("predict", path, pictures[0])
    assert outcome.code == FAILED
    assert "must read images" in outcome.err

    saved_model(path, [keras.Input((12, 12, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    outcome = run("predict", path, pictures[0], "--center")
    assert outcome.code == FAILED
    assert "--center" in outcome.err


def test_a_model_that_scales_pixels_itself_gets_them_as_they_are(run, tmp_path, pictures):
    import keras

    path = tmp_path / "scaling.keras"
    layers = [
        keras.Input((12, 12, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.GlobalMaxPooling2D(),
        keras.layers.Dense(2),
    ]
    saved_model(path, layers)
    model = keras.saving.load_model(path)
    model.set_weights([np.array([[1.0, 0.0]]), np.ones(2)])
    model.save(path)
    outcome = run("predict", path, pictures[0], "--json")
    # The brightest pixel, 255, is 1 after the model's own scaling: logits 2 and 1.
    assert outcome.json[0]["classes"][0]["probability"] == pytest.approx(1 / (1 + np.exp(-1)), 1e-4)
