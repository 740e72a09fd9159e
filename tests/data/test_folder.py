"""Folders of images: Keras' files, order, labels and numbers; bad files named."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from pathlib import Path
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from keras.src.utils.dataset_utils import index_directory
from PIL import Image

from convmill.data import DataError, kept
from convmill.data import decode as decode_module
from convmill.data.image_files import ENDINGS
from convmill.data.resize import INTERPOLATIONS, cropped, padded, resized
from convmill.datasets import folder

SIZE = (6, 5)


def write(
    path: Path, size: tuple[int, int] = (9, 7), seed: int = 0, mode: str = "RGB"
) -> np.ndarray:
    """Writes noise of (height, width); what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if mode == "L" else (*size, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def pictures(tmp_path):
    """10 images in three classes, one below a folder of its own, among other files."""
    root = tmp_path / "photos"
    names = ["cat/b.png", "cat/a.bmp", "cat/old/c.PNG", "cat/z.gif", "ant/1.jpg", "ant/2.jpeg"]
    names += [f"dog/{number}.png" for number in range(4)]
    for seed, name in enumerate(names):
        write(root / name, seed=seed)
    write(root / ".hidden" / "x.png")
    (root / "cat" / "notes.txt").write_text("no image")
    return root


def batches(dataset):
    return [dataset[index] for index in range(len(dataset))]


@pytest.mark.parametrize("seed", [None, 3])
def test_files_order_and_labels_are_keras(pictures, seed):
    shuffle = seed is not None
    paths, labels, classes = index_directory(
        str(pictures), "inferred", ENDINGS, shuffle=shuffle, seed=seed, verbose=False
    )
    made = folder(pictures, image_size=SIZE, shuffle=shuffle, seed=seed, batch_size=4)
    assert made.file_paths == paths
    assert made.class_names == classes == ["ant", "cat", "dog"]
    parts = folder(
        pictures, shuffle=shuffle, seed=seed, validation_split=0.3, subset="both", image_size=SIZE
    )
    assert parts[0].file_paths == paths[:7]
    assert parts[1].file_paths == paths[7:]
    np.testing.assert_array_equal(parts[1][0][1], labels[7:])
    if not shuffle:
        assert [len(x) for x, _ in batches(made)] == [4, 4, 2]
        np.testing.assert_array_equal(np.concatenate([y for _, y in batches(made)]), labels)


def test_each_epoch_has_all_images_in_an_order_of_its_own(pictures):
    made = folder(pictures, image_size=SIZE, seed=1, batch_size=3)
    again = folder(pictures, image_size=SIZE, seed=1, batch_size=3)
    orders = []
    for _ in range(3):
        x = np.concatenate([x for x, _ in batches(made)])
        np.testing.assert_array_equal(x, np.concatenate([x for x, _ in batches(again)]))
        orders.append(x.reshape(len(x), -1)[:, 0].tolist())
        made.on_epoch_end()
        again.on_epoch_end()
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert orders[0] != orders[1] != orders[2]


def test_a_checkpoint_puts_its_order_back(pictures):
    made = folder(pictures, image_size=SIZE, seed=1, batch_size=3)
    again = folder(pictures, image_size=SIZE, seed=1, batch_size=3)
    made.on_epoch_end()
    again.load_state_dict(made.state_dict())
    for _ in range(2):
        for (x, _), (other, _) in zip(batches(made), batches(again), strict=True):
            np.testing.assert_array_equal(x, other)
        made.on_epoch_end()
        again.on_epoch_end()


def test_forms_of_labels(pictures):
    arguments = {"image_size": SIZE, "shuffle": False, "batch_size": 16}
    labels = [1, 1] + [0] * 8
    x, y = folder(pictures, label_mode="categorical", **arguments)[0]
    assert x.shape == (10, *SIZE, 3)
    np.testing.assert_array_equal(y, np.eye(3, dtype=np.float32)[[0] * 2 + [1] * 4 + [2] * 4])
    _, y = folder(pictures, class_names=["dog", "ant"], label_mode="binary", **arguments)[0]
    np.testing.assert_array_equal(y, np.array([[0.0]] * 4 + [[1.0]] * 2, np.float32))
    _, y = folder(pictures, labels=[*labels, 7], **arguments)[0]
    assert y.dtype == np.int32
    assert y.tolist() == [*labels, 7]  # the hidden folder's image too, as in Keras
    for none in ({"labels": None}, {"label_mode": None}):
        assert folder(pictures, **none, **arguments)[0].shape == (11, *SIZE, 3)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resized_as_keras_resizes(interpolation):
    """One side grows, the other one shrinks."""
    image = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    given = image.astype(np.float32)
    theirs = keras.ops.image.resize(given, (12, 4), interpolation, antialias=False)
    np.testing.assert_allclose(resized(image, (12, 4), interpolation), theirs, atol=1e-3)


@pytest.mark.parametrize("size", [(4, 9), (9, 4), (7, 11), (20, 20)])
def test_cropped_as_keras_crops(size):
    image = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    theirs = keras.preprocessing.image.smart_resize(image.astype(np.float32), size, "nearest")
    np.testing.assert_array_equal(resized(cropped(image, size), size, "nearest"), theirs)


@pytest.mark.parametrize("size", [(4, 9), (9, 4), (7, 11), (20, 20), (8, 11)])
def test_padded_as_keras_pads(size):
    image = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    theirs = keras.ops.image.resize(
        image.astype(np.float32), size, "bilinear", antialias=False, pad_to_aspect_ratio=True
    )
    ours = resized(padded(image, size), size, "bilinear")
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_folder_of_padded_images(tmp_path):
    pixels = write(tmp_path / "a" / "wide.png", (2, 4))
    x = folder(tmp_path, None, image_size=(4, 4), pad_to_aspect_ratio=True, cache=False)[0]
    np.testing.assert_array_equal(x[0], np.pad(pixels, ((1, 1), (0, 0), (0, 0))))


@pytest.mark.parametrize(
    ("color_mode", "pillow"), [("grayscale", "L"), ("rgb", "RGB"), ("rgba", "RGBA")]
)
def test_colours(tmp_path, color_mode, pillow):
    for mode in ("L", "RGB", "RGBA"):
        write(tmp_path / "photos" / f"{mode}.png", SIZE, mode=mode)
    made = folder(tmp_path / "photos", None, color_mode=color_mode, image_size=SIZE, shuffle=False)
    x = made[0]
    assert x.dtype == np.float32
    for path, pixels in zip(made.file_paths, x, strict=True):
        wanted = np.asarray(Image.open(path).convert(pillow))
        np.testing.assert_array_equal(pixels, wanted.reshape(pixels.shape))


def test_sixteen_bits(tmp_path):
    values = np.array([[0, 255, 256], [40_000, 65_535, 511]], dtype=np.uint16)
    (tmp_path / "a").mkdir()
    Image.fromarray(values).save(tmp_path / "a" / "deep.png")
    x = folder(tmp_path, None, color_mode="grayscale", image_size=(2, 3))[0]
    np.testing.assert_array_equal(x[0, ..., 0], values >> 8)


@pytest.mark.parametrize("cache", [True, False, None, "disk"])
def test_cached_or_not_the_numbers_are_the_same(pictures, tmp_path, monkeypatch, cache):
    arguments = {"image_size": SIZE, "seed": 2, "batch_size": 4}
    wanted = batches(folder(pictures, cache=False, **arguments))
    where = tmp_path / "cache" if cache == "disk" else cache
    made = folder(pictures, cache=where, **arguments)
    decoded = decode_module.Form.read
    if cache is not False:
        monkeypatch.setattr(decode_module.Form, "read", None)
    for _ in range(2):
        for (x, y), (x_wanted, y_wanted) in zip(batches(made), wanted, strict=True):
            np.testing.assert_array_equal(x, x_wanted)
            np.testing.assert_array_equal(y, y_wanted)
    if cache != "disk":
        return
    again = folder(pictures, cache=where, **arguments)  # decodes nothing
    np.testing.assert_array_equal(again[0][0], wanted[0][0])
    assert len(list(where.iterdir())) == 1
    monkeypatch.setattr(decode_module.Form, "read", decoded)
    write(pictures / "dog" / "0.png", (20, 30), seed=99)
    assert not np.array_equal(folder(pictures, cache=where, **arguments)[0][0], wanted[0][0])


@pytest.mark.parametrize("damage", [lambda kept: kept[:-1], lambda kept: b"", lambda kept: b"PK"])
def test_a_damaged_file_of_decoded_images_is_made_anew(pictures, tmp_path, damage):
    arguments = {"image_size": SIZE, "shuffle": False}
    wanted = batches(folder(pictures, cache=False, **arguments))
    folder(pictures, cache=tmp_path / "cache", **arguments)
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = folder(pictures, cache=tmp_path / "cache", **arguments)
    np.testing.assert_array_equal(again[0][0], wanted[0][0])
    assert list((tmp_path / "cache").iterdir()) == [path]


def test_a_cache_that_is_no_folder_is_one_error(pictures, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match=r"could not be kept: .*Received: cache=.*cache$"):
        folder(pictures, cache=tmp_path / "cache", image_size=SIZE)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_file_that_is_cut_while_it_is_read_is_one_error(pictures, tmp_path, monkeypatch, at_once):
    """Were it mapped into memory, the system would end the process."""
    if not at_once:
        monkeypatch.delattr(os, "preadv", raising=False)  # Windows
    made = folder(pictures, cache=tmp_path / "cache", image_size=SIZE, shuffle=False)
    wanted = folder(pictures, cache=False, image_size=SIZE, shuffle=False)
    for number in range(len(made)):
        np.testing.assert_array_equal(made[number][0], wanted[number][0])
    (path,) = (tmp_path / "cache").iterdir()
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DataError, match=f"{path.name} was cut while it was read: image"):
        made[len(made) - 1]
    again = folder(pictures, cache=tmp_path / "cache", image_size=SIZE, shuffle=False)
    np.testing.assert_array_equal(again[len(made) - 1][0], wanted[len(made) - 1][0])


def test_what_was_opened_is_read_when_the_file_is_gone_and_goes_to_other_processes(
    pictures, tmp_path
):
    made = folder(pictures, cache=tmp_path / "cache", image_size=SIZE, shuffle=False)
    first = made[0][0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made))[0][0], first)
    if os.name != "nt":
        shutil.rmtree(tmp_path / "cache")
        np.testing.assert_array_equal(made[0][0], first)


def test_a_full_disk_costs_no_process(pictures, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(kept.Writing, "__setitem__", Mock(side_effect=full))
    with pytest.raises(DataError, match=r"No space left on device.*cache=False"):
        folder(pictures, cache=tmp_path / "cache", image_size=SIZE)
    assert list((tmp_path / "cache").iterdir()) == []


def test_too_much_for_memory_is_decoded_when_it_is_read(pictures, monkeypatch):
    monkeypatch.setattr("convmill.data.decoded.MEMORY_LIMIT", 100)
    made = folder(pictures, image_size=SIZE, shuffle=False)
    first = made[0][0]
    write(pictures / "ant" / "1.jpg", seed=50)
    assert not np.array_equal(made[0][0], first)


def test_bad_files_are_all_named_before_anything_is_trained(pictures):
    (pictures / "dog" / "0.png").write_bytes(b"<html>")
    whole = (pictures / "cat" / "b.png").read_bytes()
    (pictures / "ant" / "1.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        folder(pictures, image_size=SIZE)
    assert str(caught.value).startswith("2 of 10 images cannot be used. Mend or remove them:")
    for name in ("dog/0.png", "ant/1.jpg"):
        assert f"  {pictures / name}: no image of a known format" in str(caught.value)
    for name in ("dog/0.png", "ant/1.jpg"):
        (pictures / name).unlink()
    (pictures / "cat" / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1 of 8 images.*\n.*b\.png: "):
        folder(pictures, image_size=SIZE)


WRONG = [
    ({"labels": "guessed"}, "labels must be .* Received: labels='guessed'"),
    ({"labels": [1, 2]}, "one label for each of the 11 images .* Received: 2 labels"),
    ({"labels": None, "class_names": ["cat"]}, "class_names goes with"),
    ({"class_names": ["cat", "cow"]}, "not there: cow"),
    ({"label_mode": "text"}, "label_mode must be one of 'int', "),
    ({"label_mode": "binary"}, "exactly two classes. Received: ant, cat, dog"),
    ({"label_mode": "categorical", "labels": [3] * 11}, r"labels must lie in 0\.\.0"),
    ({"color_mode": "cmyk"}, "color_mode must be one of"),
    ({"batch_size": None}, "batch_size must be a whole number of at least 1"),
    ({"image_size": (4, 0)}, "image_size must be a whole number"),
    ({"image_size": "big"}, r"image_size must be \(height, width\)"),
    ({"interpolation": "area"}, "interpolation must be one of 'nearest', 'bilinear'"),
    ({"validation_split": 2.0, "subset": "both"}, "must lie between 0 and 1"),
    ({"validation_split": 0.2}, "validation_split and subset go together"),
    ({"subset": "training"}, "validation_split and subset go together"),
    ({"validation_split": 0.2, "subset": "test", "seed": 1}, "subset must be one of"),
    ({"validation_split": 0.2, "subset": "both"}, "a seed is needed"),
    ({"validation_split": 0.01, "subset": "both", "seed": 1}, "leaves no images"),
    ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "exclude each other"),
    ({"workers": 0}, "workers must be a whole number"),
]


@pytest.mark.parametrize(("arguments", "complaint"), WRONG)
def test_bad_arguments(pictures, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        folder(pictures, **arguments)


def test_no_folder_and_no_images(tmp_path):
    with pytest.raises(DataError, match="no folder at this path"):
        folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no images found.\nWanted: \.bmp"):
        folder(tmp_path)


def test_links_are_followed_where_asked(pictures, tmp_path):
    (pictures / "dog" / "more").symlink_to(pictures / "ant")
    assert len(folder(pictures, image_size=SIZE).file_paths) == 10
    assert len(folder(pictures, image_size=SIZE, follow_links=True).file_paths) == 12


def test_says_what_it_found(pictures, capsys):
    folder(pictures, image_size=SIZE, seed=0, validation_split=0.25, subset="both")
    assert capsys.readouterr().out == (
        "Found 10 files belonging to 3 classes.\n8 files to train on, 2 to validate on.\n"
    )
    folder(pictures, image_size=SIZE, verbose=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("cache", [None, False])
def test_fit_evaluate_and_predict(pictures, cache):
    from convmill import layers, models

    train, held_out = folder(
        pictures, image_size=SIZE, seed=0, validation_split=0.3, subset="both", batch_size=3,
        cache=cache, workers=2,
    )  # fmt: skip
    model = models.Sequential(
        [layers.Input((*SIZE, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)]
    )
    assert train.workers == (1 if cache is None else 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    history = model.fit(train, validation_data=held_out, epochs=2, verbose=0).history
    assert len(history["val_loss"]) == 2
    assert np.isfinite(history["loss"]).all()
    x, y = held_out[0]
    scores = model.evaluate(held_out, verbose=0)
    np.testing.assert_allclose(scores, model.evaluate(x, y, verbose=0), rtol=1e-5)
    np.testing.assert_array_equal(model.predict(held_out, verbose=0), model.predict(x, verbose=0))
