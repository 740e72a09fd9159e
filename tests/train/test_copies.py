"""Copies of an accelerated model are accelerated as it is, by whichever road they are made."""

import copy
import json
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models, saving
from convmill.train.session import session
from tests.train.nets import (
    SHAPE,
    X,
    Y,
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    seeded_fit,
)

COPYING = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "within": lambda model: copy.deepcopy({"models": [model]})["models"][0],
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "older pickle": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
    "Keras' clone": keras.models.clone_model,
    "our clone": models.clone_model,
    "copy of a copy": lambda model: copy.deepcopy(copy.deepcopy(model)),
}


def functional(model):
    return models.Model(model.inputs[0], model.outputs[0], name="net")


@pytest.mark.parametrize("copying", COPYING)
@pytest.mark.parametrize("make", [lambda model: model, functional])
def test_copies_run_as_the_model_does(copying, make, runs):
    model = compiled(make(convnet(models.Sequential)))
    convmill.accelerate(model, threads=2, strict=True)
    seeded_fit(model, X, Y)
    expected = model.predict(X, verbose=0)
    count = len(runs)
    twin = COPYING[copying](model)
    assert twin is not model
    assert type(twin) is type(model)
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(twin.predict(X, verbose=0), expected)
    assert len(runs) == count + 1
    assert session(twin).threads == 2
    assert session(twin).is_strict
    assert session(twin) is not session(model)
    convmill.restore(twin)
    twin.predict(X, verbose=0)
    assert len(runs) == count + 1


def test_a_copy_of_a_strict_model_is_strict():
    unknown = layers.BatchNormalization(renorm=True)
    stack = [keras.Input(SHAPE), unknown, layers.Flatten(), layers.Dense(3)]
    model = convmill.accelerate(keras.Sequential(stack), strict=True)
    for twin in (copy.deepcopy(model), keras.models.clone_model(model)):
        with pytest.raises(convmill.NotCovered, match="renorm"):
            twin.predict(X, verbose=0)


def test_a_copy_goes_on_as_keras_copy_does(strict):
    twins, histories = [], []
    for sequential in (models.Sequential, keras.Sequential):
        model = compiled(convnet(sequential), "adam")
        seeded_fit(model, X, Y)
        twins.append(copy.deepcopy(model))
        histories.append(seeded_fit(twins[-1], X, Y, epochs=2))
    assert_same_history(*histories)
    assert_same_state(*twins)


def test_what_is_not_accelerated_is_copied_as_keras_does_it(runs):
    convmill.accelerate(convnet())  # by which Keras' clone_model learns of us
    for plain in (convnet(), convmill.restore(convnet(models.Sequential))):
        for copying in set(COPYING) - {"our clone"}:
            twin = COPYING[copying](plain)
            assert not set(vars(twin)) & {"fit", "predict", "__reduce__"}, copying


def test_models_from_configurations_run_compiled(runs):
    model = convnet()
    graph = keras.Model(model.inputs[0], model.outputs[0])
    made = [
        models.Sequential.from_config(model.get_config()),
        models.Model.from_config(graph.get_config()),
        models.model_from_json(model.to_json()),
        models.model_from_json(graph.to_json()),
        saving.deserialize_keras_object(saving.serialize_keras_object(model)),
    ]
    for count, twin in enumerate(made, 1):
        twin.predict(X, verbose=0)
        assert len(runs) == count
    assert [type(twin) for twin in made[:2]] == [keras.Sequential, type(graph)]
    layer = saving.deserialize_keras_object(saving.serialize_keras_object(layers.Dense(2)))
    assert isinstance(layer, layers.Dense)


def test_models_from_files_run_compiled(tmp_path, runs):
    path = tmp_path / "net.keras"
    convnet().save(path)
    for count, load in enumerate((models.load_model, saving.load_model), 1):
        load(path).predict(X, verbose=0)
        assert len(runs) == count


def test_a_class_with_a_fit_of_its_own_is_copied_whole():
    twin = copy.deepcopy(convmill.accelerate(Proud(), threads=2, strict=False))
    assert type(twin) is Proud
    assert twin.fit() == "mine"
    assert session(twin).threads == 2


def test_a_class_that_copies_itself_keeps_its_way(runs, capsys):
    class Alone(keras.Sequential):
        def __reduce__(self):
            return "nothing"

    stack = [keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)]
    model = convmill.accelerate(Alone(stack), strict=True)
    assert model.__reduce__() == "nothing"
    model.predict(X, verbose=0)
    assert runs == ["evaluate"]
    assert capsys.readouterr().err == ""


@keras.saving.register_keras_serializable("tests")
class Proud(keras.Sequential):
    def fit(self, *args, **kwargs):
        return "mine"


FROM_JSON_ALONE = """
import sys
sys.modules["convmill"] = None  # as if it were not installed
import keras
print(keras.models.model_from_json(sys.stdin.read()).count_params())
"""


def test_json_needs_no_convmill():
    text = copy.deepcopy(convnet(models.Sequential)).to_json()
    assert "convmill" not in json.dumps(text)
    done = subprocess.run(
        [sys.executable, "-c", FROM_JSON_ALONE],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "47\n", done.stderr
