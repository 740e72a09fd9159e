"""Known attacks by files of models: each is refused in one clear error, and none of their code is
run."""

from __future__ import annotations

import io
import json
import stat
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from convmill.failure import Failure
from convmill.train import load
from convmill.user_models import load_model


def net():
    return models.Sequential([keras.Input((4,)), layers.Dense(3)])


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, found):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in found.items():
            archive.writestr(name, content)


def with_layer(path, layer):
    """Puts a layer's description in the place of the dense layer's."""
    found = members(path)
    config = json.loads(found["config.json"])
    config["config"]["layers"][1] = layer
    rewrite(path, found | {"config.json": json.dumps(config)})


def with_weights(path, change):
    found = members(path)
    content = io.BytesIO(found["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        change(file)
    rewrite(path, found | {"model.weights.h5": content.getvalue()})


def a_lambda(path, evil):
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x)])
    model.layers[0].function = eval(f"lambda x: open({str(evil)!r}, 'w') and x")
    model.save(path)


def a_module(path, evil):
    """A function of Python's in the place of a layer."""
    layer = {"module": "os", "class_name": "system", "config": f"touch {evil}"}
    with_layer(path, layer | {"registered_name": "system"})


def a_function(path, evil):
    """A function of Keras' that writes files, as an activation."""
    found = members(path)
    config = json.loads(found["config.json"])
    config["config"]["layers"][1]["config"]["activation"] = {
        "module": "keras.utils",
        "class_name": "function",
        "config": "get_file",
        "registered_name": "get_file",
    }
    rewrite(path, found | {"config.json": json.dumps(config)})


def unsafe_inside(path, evil):
    """A model that asks for no safe mode itself."""
    layer = {
        "module": "keras.config",
        "class_name": "function",
        "config": "enable_unsafe_deserialization",
        "registered_name": "function",
    }
    with_layer(path, layer)


def upwards(path, evil):
    rewrite(path, members(path) | {f"assets/../../{evil.name}": b"x"})


def absolute(path, evil):
    rewrite(path, members(path) | {str(evil): b"x"})


def backwards(path, evil):
    rewrite(path, members(path) | {f"assets\\..\\{evil.name}": b"x"})


def a_link(path, evil):
    found = members(path)
    rewrite(path, found)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("assets/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(evil))


def a_bomb(path, evil):
    found = members(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in found.items():
            if name != "model.weights.h5":
                archive.writestr(name, content)
        with archive.open("model.weights.h5", "w", force_zip64=True) as bomb:
            for _ in range(300):
                bomb.write(bytes(1 << 20))


def external_data(path, evil):
    """Weights that lie in another file: what they read would be told by the model."""
    secret = evil.with_name("secret")
    secret.write_bytes(b"s" * 48)

    def change(file):
        del file["layers/dense/vars/0"]
        place = [(str(secret), 0, 48)]
        file.create_dataset("layers/dense/vars/0", (4, 3), np.float32, external=place)

    with_weights(path, change)


def external_link(path, evil):
    def change(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/hostname", "/x")

    with_weights(path, change)


def large_weights(path, evil):
    """A data set of 4 TB that takes no room in the file."""

    def change(file):
        del file["layers/dense/vars/0"]
        shape = (1 << 20, 1 << 20)
        file.create_dataset("layers/dense/vars/0", shape, np.float32, chunks=(1 << 10, 1 << 10))

    with_weights(path, change)


ATTACKS = (
    *(a_lambda, a_module, a_function, unsafe_inside, upwards, absolute, backwards, a_link, a_bomb),
    *(external_data, external_link, large_weights),
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_refused(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, evil = tmp_path / "folder" / "net.keras", tmp_path / "evil"
    path.parent.mkdir()
    net().save(path)
    attack(path, evil)
    with pytest.raises(ValueError, match=r"net\.keras: Keras cannot load this model") as caught:
        models.load_model(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(Failure, match=r"cannot load this model"):  # what commands do
        load_model(path)
    assert not evil.exists()


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    net().save(tmp_path / "net.keras")
    monkeypatch.setattr(load, "_MOST_MEMBERS", 2)
    with pytest.raises(ValueError, match=r"The archive has \d+ members; no model has so many"):
        models.load_model(tmp_path / "net.keras")


@pytest.mark.parametrize("attack", [external_data, external_link, large_weights])
def test_weights_are_not_changed_by_it(attack, tmp_path):
    path = tmp_path / "net.keras"
    model = net()
    model.save(path)
    attack(path, tmp_path / "evil")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"The model is as it was"):
        model.load_weights(path)
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)
