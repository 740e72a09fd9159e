"""The doors: convmill's own models, ``accelerate``, and patching Keras; each undone again."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models
from convmill.train.session import session
from tests.train.nets import (
    ALL,
    SHAPE,
    X,
    Y,
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    images,
    seeded_fit,
    use_all,
)

# Models of convmill's own ------------------------------------------------------------------------


def test_sequential_makes_keras_own_model_that_runs_compiled(runs):
    model = compiled(convnet(models.Sequential))
    assert type(model) is keras.Sequential
    assert isinstance(model, models.Sequential)
    assert isinstance(model, models.Model)
    use_all(model)
    assert runs == ALL


def test_the_notebook_s_way_of_building(runs, capsys):
    model = models.Sequential()
    with pytest.warns(UserWarning, match="input_shape"):
        model.add(convmill.layers.Conv2D(2, (3, 3), activation="relu", input_shape=SHAPE))
    model.add(convmill.layers.MaxPooling2D((2, 2)))
    model.add(convmill.layers.Flatten())
    model.add(convmill.layers.Dense(3, activation="softmax"))
    model.summary()
    assert "Total params: 47" in capsys.readouterr().out
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    labels = convmill.utils.to_categorical(Y.argmax(axis=1))
    model.fit(X.astype("float"), labels, epochs=1, batch_size=64, verbose=0)
    loss, accuracy = model.evaluate(X, labels, verbose=0)
    assert 0 <= accuracy <= 1 < loss + 1
    assert runs == ["train", "evaluate"]


def test_names_of_keras_are_at_hand():
    from convmill import (
        Input,
        Model,
        Sequential,
        activations,
        callbacks,
        losses,
        metrics,
        optimizers,
        utils,
    )
    from convmill.callbacks import EarlyStopping
    from convmill.layers import Conv2D
    from convmill.optimizers import Adam

    assert Input is keras.Input
    assert (Model, Sequential) == (models.Model, models.Sequential)
    assert Adam is optimizers.Adam is keras.optimizers.Adam
    assert EarlyStopping is callbacks.EarlyStopping is keras.callbacks.EarlyStopping
    assert Conv2D is keras.layers.Conv2D
    assert losses.MeanSquaredError is keras.losses.MeanSquaredError
    assert metrics.Mean is keras.metrics.Mean
    assert activations.relu is keras.activations.relu
    assert utils.to_categorical is keras.utils.to_categorical
    assert convmill.ops is keras.ops
    with pytest.raises(AttributeError, match="Neither module 'convmill' nor 'keras' has"):
        _ = convmill.no_such_thing


# One model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_accelerate_and_restore(kind, runs):
    model = convnet()
    if kind == "functional":
        model = keras.Model(model.inputs[0], model.outputs[0])
    compiled(model)
    known = dict(vars(model))
    assert convmill.accelerate(model) is model
    use_all(model)
    assert runs == ALL
    assert convmill.restore(model) is model
    assert not set(vars(model)) & {"fit", "evaluate", "predict"}
    assert set(known) <= set(vars(model))
    use_all(model)
    assert runs == ALL


def test_accelerating_twice_is_accelerating_once(runs):
    model = convmill.accelerate(convmill.accelerate(compiled(convnet())))
    seeded_fit(model, X, Y)
    convmill.restore(model)
    seeded_fit(model, X, Y)
    assert runs == ["train"]


def test_other_models_are_left_alone(runs):
    convmill.accelerate(compiled(convnet()))
    use_all(compiled(convnet()))
    assert runs == []


@pytest.mark.parametrize("wrong", [None, "model", keras.layers.Dense(2), keras.Sequential])
@pytest.mark.parametrize("door", [convmill.accelerate, convmill.restore, convmill.explain])
def test_doors_want_a_model(wrong, door):
    with pytest.raises(TypeError, match=r"model must be a Keras model\. Received: "):
        door(wrong)


@pytest.mark.parametrize("wrong", ["no", "", 2, 0.5])
def test_strict_is_one_of_three(wrong):
    with pytest.raises(ValueError, match=r"strict must be True, False or None\. Received: strict="):
        convmill.accelerate(convnet(), strict=wrong)


def test_threads_do_not_change_a_bit():
    found = []
    for threads in (1, 2, 3):
        model = convmill.accelerate(compiled(convnet(dropout=0.3)), threads=threads)
        seeded_fit(model, X, Y, epochs=2)
        found.append(model.get_weights())
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_class_with_its_own_fit_keeps_it(runs, capsys):
    class Proud(keras.Sequential):
        def fit(self, *args, **kwargs):
            return "mine"

    model = convmill.accelerate(Proud([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)]))
    assert model.fit() == "mine"
    assert "Proud defines its own fit" in capsys.readouterr().err
    model.predict(X, verbose=0)
    assert runs == ["evaluate"]
    with pytest.raises(convmill.NotCovered):
        convmill.accelerate(model, strict=True, threads=2)
    assert (session(model).strict, session(model).threads) == (None, None)
    model.predict(X, verbose=0)
    assert runs == ["evaluate"] * 2


# All models --------------------------------------------------------------------------------------


def test_install_and_uninstall(runs):
    before = {name: getattr(keras.Model, name) for name in ("fit", "evaluate", "predict")}
    model = compiled(convnet())
    convmill.install()
    convmill.install()
    use_all(model)
    assert runs == ALL
    convmill.uninstall()
    for name, method in before.items():
        assert getattr(keras.Model, name) is method
        assert name not in vars(keras.Model)
    use_all(model)
    assert runs == ALL


def test_an_extension_of_ipython(runs):
    convmill.load_ipython_extension(None)
    seeded_fit(compiled(convnet()), X, Y)
    assert runs == ["train"]
    convmill.unload_ipython_extension(None)
    seeded_fit(compiled(convnet()), X, Y)
    assert runs == ["train"]


def test_classes_that_call_their_parent_s_fit_run_compiled_too(runs):
    class Loud(keras.Sequential):
        def fit(self, *args, **kwargs):
            return super().fit(*args, **kwargs)

    convmill.install()
    model = compiled(Loud([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)]), loss="mse")
    seeded_fit(model, X, Y)
    assert runs == ["train"]


# Files -------------------------------------------------------------------------------------------

LOAD_IN_PLAIN_KERAS = """
import sys
sys.modules["convmill"] = None  # as if it were not installed
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
np.testing.assert_allclose(model.predict(data["x"], verbose=0), data["expected"], atol=2e-5)
assert model.optimizer.iterations.numpy() == 3, model.optimizer.iterations
velocity = [v.numpy() for v in model.optimizer.variables]
for mine, other in zip(velocity, [data[f"v{i}"] for i in range(len(velocity))], strict=True):
    np.testing.assert_array_equal(mine, other)
model.jit_compile = True  # quicker for a single batch size
model.fit(data["x"], data["y"], verbose=0)
print(type(model).__name__, type(model).__module__.split(".")[0])
"""


def test_what_is_saved_loads_in_plain_keras_elsewhere(tmp_path):
    model = compiled(convnet(models.Sequential))
    seeded_fit(model, *images(48))
    path, data = tmp_path / "net.keras", tmp_path / "data.npz"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    assert (config["module"], config["class_name"]) == ("keras", "Sequential")
    assert "convmill" not in json.dumps(config)
    slots = {f"v{i}": v.numpy() for i, v in enumerate(model.optimizer.variables)}
    np.savez(data, x=X, y=Y, expected=model.predict(X, verbose=0), **slots)
    done = subprocess.run(
        [sys.executable, "-c", LOAD_IN_PLAIN_KERAS, str(path), str(data)],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Sequential", "keras"]


def test_a_functional_model_is_saved_as_functional(tmp_path):
    inputs = keras.Input(SHAPE)
    model = models.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    model.save(tmp_path / "net.keras")
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert config["class_name"] == "Functional"
    assert config["module"].split(".")[0] == "keras"


def test_a_plain_file_trains_on_compiled(tmp_path, runs):
    plain = compiled(convnet(), keras.optimizers.Adam(0.01))
    seeded_fit(plain, X, Y)
    plain.save(tmp_path / "plain.keras")
    theirs = keras.models.load_model(tmp_path / "plain.keras")
    ours = models.load_model(tmp_path / "plain.keras")
    assert_same_history(seeded_fit(ours, X, Y), seeded_fit(theirs, X, Y))
    assert runs == ["train"]
    assert_same_state(ours, theirs)
