"""Arguments of a kind that cannot be meant, over all that is public: the error names the argument
and says what was received."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import convmill
from convmill import callbacks, data, datasets, models, saving, study, view
from convmill.data import DataError
from convmill.study.errors import StudyError
from tests.study.tables import small

X, Y = np.zeros((8, 8, 8, 1), np.float32), np.arange(8) % 3
WRONG = (None, 3, "x", [], object())

Arguments = dict[str, Any]


def net() -> Any:
    """A small classifier, compiled."""
    made = models.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(2, 3, name="convolution"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    made.compile("sgd", "sparse_categorical_crossentropy")
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a model, and its weights."""
    folder = tmp_path_factory.mktemp("place")
    for number in range(4):
        (folder / "pictures" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(folder / "pictures" / str(number % 2) / f"{number}.png")
    model = net()
    model.save(folder / "net.keras")
    model.save_weights(folder / "net.weights.h5")
    return folder


@pytest.fixture(scope="module")
def model() -> Any:
    return net()


def images(folder: Path) -> Arguments:
    """All arguments of ``datasets.folder`` but its switches, which take anything."""
    return {
        "directory": folder / "pictures",
        "labels": "inferred",
        "label_mode": "int",
        "class_names": ["0", "1"],
        "color_mode": "grayscale",
        "batch_size": 2,
        "image_size": 8,
        "seed": 1,
        "validation_split": 0.5,
        "subset": "both",
        "interpolation": "bilinear",
        "data_format": None,
        "cache": True,
        "workers": 1,
    }


TRAINING = {
    "x": X,
    "y": Y,
    "batch_size": 8,
    "epochs": 1,
    "verbose": 0,
    "callbacks": [],
    "validation_split": 0.0,
    "validation_data": (X, Y),
    "shuffle": False,
    "class_weight": None,
    "sample_weight": None,
    "initial_epoch": 0,
    "steps_per_epoch": None,
    "validation_steps": 1,
    "validation_batch_size": 2,
    "validation_freq": 1,
}
SCORING = {"x": X, "y": Y, "batch_size": 8, "sample_weight": None, "steps": None, "callbacks": []}
CLASSIFIED = {"x": X, "y": Y, "class_names": ["a", "b", "c"]}
# By its name what is called, with a model and a folder, and with which arguments: those which work.
CALLS: Mapping[str, tuple[Callable[..., Any], Callable[[Any, Path], Arguments]]] = {
    "accelerate": (
        lambda threads, strict, model: convmill.accelerate(model, threads=threads, strict=strict),
        lambda model, place: {"model": net(), "threads": 1, "strict": False},
    ),
    "restore": (convmill.restore, lambda model, place: {"model": net()}),
    "explain": (
        convmill.explain,
        lambda model, place: {"model": model, "x": X, "y": Y, "batch_size": 8},
    ),
    "inspect": (
        convmill.inspect,
        lambda model, place: {"model": model, "input_shape": None, "images": 9, "batch_size": 8},
    ),
    "compare": (
        convmill.compare,
        lambda model, place: dict.fromkeys("ab", convmill.inspect(model)),
    ),
    "tune": (
        convmill.tune,
        lambda model, place: {"model": model, "x": X, "y": Y, "batch_size": 8, "tell": print},
    ),
    "Checkpoint": (
        callbacks.Checkpoint,
        lambda model, place: {"directory": place / "run", "every": "60s", "keep": 2},
    ),
    "StopOnNaN": (callbacks.StopOnNaN, lambda model, place: {"action": "stop"}),
    "data.check": (data.check, lambda model, place: {"name": "digits"}),
    "data.fetch": (data.fetch, lambda model, place: {"name": "digits"}),
    "data.is_name": (data.is_name, lambda model, place: {"text": "digits"}),
    "data.load": (data.load, lambda model, place: {"name_or_path": "digits"}),
    "data.load_named": (data.load_named, lambda model, place: {"name": "digits", "path": None}),
    "data.load_folder": (data.load_folder, lambda model, place: {"path": place / "pictures"}),
    "datasets.digits": (datasets.digits.load_data, lambda model, place: {"path": None}),
    "datasets.cifar100": (
        datasets.cifar100.load_data,
        lambda model, place: {"label_mode": "fine", "path": place},
    ),
    "datasets.folder": (
        lambda **arguments: datasets.folder(verbose=False, **arguments),
        lambda model, place: images(place),
    ),
    "study.read": (study.read, lambda model, place: {"folder": place / "study"}),
    "study.run": (
        study.run,
        lambda model, place: {
            "study": small(place),
            "folder": place / "study",
            "workers": 1,
            "cluster": None,
        },
    ),
    "load_model": (saving.load_model, lambda model, place: {"filepath": place / "net.keras"}),
    "models.load_model": (
        models.load_model,
        lambda model, place: {"filepath": place / "net.keras"},
    ),
    "save_model": (
        saving.save_model,
        lambda model, place: {"model": model, "filepath": place / "new.keras"},
    ),
    "save_weights": (
        saving.save_weights,
        lambda model, place: {"model": model, "filepath": place / "new.weights.h5"},
    ),
    "load_weights": (
        saving.load_weights,
        lambda model, place: {"model": model, "filepath": place / "net.weights.h5"},
    ),
    "clone_model": (models.clone_model, lambda model, place: {"model": model}),
    "model_from_json": (
        models.model_from_json,
        lambda model, place: {"json_string": model.to_json()},
    ),
    "deserialize_keras_object": (
        saving.deserialize_keras_object,
        lambda model, place: {"config": keras.saving.serialize_keras_object(model)},
    ),
    "view.activations": (
        view.activations,
        lambda model, place: {"model": model, "images": X, "layer": "convolution"},
    ),
    "view.activation_maximization": (
        view.activation_maximization,
        lambda model, place: {
            "model": model,
            "layer": "convolution",
            "filters": [0],
            "steps": 1,
            "seed": 0,
            "pixels": (0, 1),
        },
    ),
    "view.confusion_matrix": (
        view.confusion_matrix,
        lambda model, place: {"model": model, **CLASSIFIED},
    ),
    "view.least_sure": (
        view.least_sure,
        lambda model, place: {"model": model, **CLASSIFIED, "most": 3},
    ),
    "view.mistakes": (
        view.mistakes,
        lambda model, place: {"model": model, **CLASSIFIED, "most": 3},
    ),
    "view.filters": (
        view.filters,
        lambda model, place: {"model": model, "layer": "convolution", "channel": 0},
    ),
    "view.patches": (
        view.patches,
        lambda model, place: {
            "model": model,
            "image": X[0],
            "layer": "convolution",
            "filter": 0,
            "place": (0, 0),
            "channel": 0,
        },
    ),
    "view.receptive_field": (
        view.receptive_field,
        lambda model, place: {
            "model": model,
            "layer": "convolution",
            "unit": (1, 1),
            "images": X,
            "image": X[0],
            "pixels": None,
        },
    ),
    "view.reliability": (
        view.reliability,
        lambda model, place: {"model": model, "x": X, "y": Y, "bins": 5},
    ),
    "view.responses": (
        view.responses,
        lambda model, place: {"model": model, "image": X[0], "layer": "convolution", "most": 2},
    ),
    "view.learning_curves": (
        view.learning_curves,
        lambda model, place: {"history": {"loss": [1.0]}, "names": ["a"], "metric": "loss"},
    ),
}
METHODS: Mapping[str, Arguments] = {
    "fit": TRAINING,
    "evaluate": {**SCORING, "verbose": 0},
    "predict": {"x": X, "batch_size": 8, "verbose": 0, "steps": None, "callbacks": []},
    "train_on_batch": {"x": X, "y": Y, "sample_weight": None, "class_weight": None},
    "test_on_batch": {"x": X, "y": Y, "sample_weight": None},
    "predict_on_batch": {"x": X},
}


def is_clear(error: Exception, name: str, value: Any) -> bool:
    """Whether an error names the argument, and says what was received for it; what is no data or
    study has errors of its own."""
    said = str(error)
    named = re.search(rf"\b{name}\b", said) or isinstance(error, DataError | StudyError)
    shown = ("Received: ", str(value), type(value).__name__)
    return bool(named) and any(text in said for text in shown)


def unclear(call: Callable[..., Any], arguments: Arguments) -> list[str]:
    """What is wrong with the errors of calls, each with one argument of a wrong kind."""
    found = []
    for name in arguments:
        for value in WRONG:
            try:
                call(**{**arguments, name: value})
            except Exception as error:
                if not is_clear(error, name, value):
                    found.append(f"{name}={value!r}: {type(error).__name__}: {error}")
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_errors_name_the_argument(name, place, model, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    call, arguments = CALLS[name]
    assert unclear(call, arguments(model, place)) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", METHODS)
def test_errors_of_methods_name_the_argument(name):
    assert unclear(getattr(net(), name), METHODS[name]) == []


def test_the_whole_surface_is_tried():
    """What is public and not called above takes no arguments, or is a kind of data or of error."""
    others = {"NotCovered", "install", "uninstall", "Dataset", "DataError", "CheckReport", "Entry"}
    others |= {"FileReport", "catalog", "names", "load_mnist_or_digits", "Picture", "intervals"}
    others |= {"positions", "trends"}  # which draw what a study has measured
    others |= {"Model", "Sequential", "mnist", "fashion_mnist", "cifar10"}
    tried = {name.rpartition(".")[2] for name in CALLS}
    public = {
        name
        for module in (convmill, callbacks, data, datasets, models, saving, study, view)
        for name in module.__all__
    }
    assert public - others <= tried
