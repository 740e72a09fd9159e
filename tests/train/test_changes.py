"""A model is read anew where something of it has changed, and only there."""

import copy
import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models
from convmill.train import loaded, reading
from convmill.train.changes import Unchanged

pytestmark = pytest.mark.usefixtures("strict")

RNG = np.random.default_rng(5)
X = RNG.random((12, 8, 8, 1)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 12)]


def net():
    keras.utils.set_random_seed(3)
    model = models.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(2.0, name="scale"),
            layers.Conv2D(4, 3, activation=layers.ReLU(max_value=6.0), name="see"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5, seed=4, name="drop"),
            layers.Dense(5, activation="relu", kernel_regularizer=keras.regularizers.L2(0.1)),
            layers.Dense(3, activation="softmax", name="say"),
        ]
    )
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def freeze(model):
    model.get_layer("see").trainable = False
    model.compile("sgd", "mse", jit_compile=False)


def freeze_one_variable(model):
    model.get_layer("say").bias.trainable = False
    model.compile("sgd", "mse", jit_compile=False)


def other_last_layer(model):
    model.pop()
    model.add(layers.Dense(3, kernel_initializer="ones", name="anew"))
    model.compile("sgd", "mse", jit_compile=False)


def set_attribute(layer, name, value):
    return lambda model: setattr(model.get_layer(layer), name, value)


def of_optimizer(name, value):
    return lambda model: setattr(model.optimizer, name, value)


CHANGES = {
    "freeze": freeze,
    "freeze a variable": freeze_one_variable,
    "another layer": other_last_layer,
    "another optimizer": lambda model: model.compile("adam", model.loss, jit_compile=False),
    "another loss": lambda model: model.compile(model.optimizer, "mse", jit_compile=False),
    "activation": set_attribute("say", "activation", keras.activations.sigmoid),
    "activation layer": lambda model: setattr(model.get_layer("see").activation, "max_value", 0.2),
    "rate of dropout": set_attribute("drop", "rate", 0.1),
    "scale": set_attribute("scale", "scale", 0.5),
    "reduction": lambda model: setattr(model.loss, "reduction", "sum"),
    "regularizer": lambda model: setattr(model.layers[-2].kernel.regularizer, "l2", 3.0),
    "another regularizer": lambda model: setattr(
        model.layers[-1].kernel, "regularizer", keras.regularizers.L1(1.0)
    ),
    "momentum": of_optimizer("momentum", 0.1),
    "clipping": of_optimizer("clipnorm", 0.01),
    "weight decay": of_optimizer("weight_decay", 0.3),
    "learning rate": of_optimizer("learning_rate", 0.5),
    "set_weights": lambda model: model.set_weights([w * 2 for w in model.get_weights()]),
    "assign": lambda model: model.get_layer("say").kernel.assign_add(np.ones((5, 3))),
    "slot": lambda model: model.optimizer.variables[2].assign_add(
        np.ones(model.optimizer.variables[2].shape)
    ),
    "iterations": lambda model: model.optimizer.iterations.assign(7),
    "seed": lambda model: model.get_layer("drop").seed_generator.state.assign([9, 4]),
}


def results(model):
    before = model.predict_on_batch(X[:1])
    model.train_on_batch(X, Y)
    logs = model.train_on_batch(X, Y, return_dict=True)
    after = model.evaluate(X, Y, verbose=0, return_dict=True)
    logs |= {f"then_{name}": value for name, value in after.items()}
    return before, logs, model.predict(X, verbose=0)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changed_is_seen_by_the_next_call(change):
    """As by a model that was changed before anything was called."""
    used, fresh = net(), net()
    state = [one.numpy() for one in (*used.variables, *used.optimizer.variables)]
    unchanged = results(used)
    for one, value in zip((*used.variables, *used.optimizer.variables), state, strict=True):
        one.assign(value)
    for model in (used, fresh):
        change(model)
    found, expected = results(used), results(fresh)
    assert found[1] == expected[1]
    for mine, other in zip((found[0], found[2]), (expected[0], expected[2]), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert found[1] != unchanged[1] or not np.array_equal(found[2], unchanged[2])


def test_what_is_no_longer_covered_is_refused():
    model = net()
    results(model)
    model.get_layer("say").call = lambda x: x
    with pytest.raises(convmill.NotCovered, match="say"):
        model.predict(X, verbose=0)


def test_a_setting_of_keras_is_seen():
    model = net()
    results(model)
    before = keras.config.epsilon()
    keras.config.set_epsilon(0.3)  # probabilities are clipped to it
    try:
        clipped = model.test_on_batch(X, Y)[0]
    finally:
        keras.config.set_epsilon(before)
    assert clipped != model.test_on_batch(X, Y)[0]


@pytest.fixture
def counted(monkeypatch):
    """Counts how often a model is read, and arrays are copied into a Program."""
    counts = {"read": 0, "copied": 0}
    read, changed = reading.read, loaded._changed

    def count_read(*arguments):
        counts["read"] += 1
        return read(*arguments)

    def count_changed(*arguments):
        found = changed(*arguments)
        counts["copied"] += sum(value is not None for value in found)
        return found

    monkeypatch.setattr(reading, "read", count_read)
    monkeypatch.setattr(loaded, "_changed", count_changed)
    return counts


def test_nothing_is_read_or_copied_twice(counted):
    if keras.backend.backend() != "jax":
        pytest.skip("there values are always copied")
    model = net()
    results(model)
    results(model)  # the first calls build metrics, and set attributes
    counted.update(read=0, copied=0)
    for _ in range(3):
        model.predict_on_batch(X[:1])
        model.predict(X, verbose=0)
        model.evaluate(X, Y, verbose=0)
        model.train_on_batch(X, Y)
    assert counted == {"read": 0, "copied": 0}
    model.get_layer("say").bias.assign([1.0, 2.0, 3.0])
    model.predict_on_batch(X[:1])
    assert counted == {"read": 0, "copied": 1}


def test_inference_does_not_ask_what_the_optimizer_is_like(counted):
    model = net()
    results(model)
    before = model.predict(X, verbose=0)
    counted.update(read=0)
    model.optimizer.momentum = 0.5
    model.loss.reduction = "sum"
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)
    assert counted["read"] == 0


def test_a_layer_that_is_called_optimizer_is_a_layer():
    inputs = keras.Input((4,))
    dense = layers.Dense(3)
    model = models.Model(inputs, dense(inputs))
    model.optimizer = dense
    before = model.predict(X[:, :4, 0, 0], verbose=0)
    dense.activation = keras.activations.relu
    after = model.predict(X[:, :4, 0, 0], verbose=0)
    np.testing.assert_array_equal(after, np.maximum(before, 0))
    assert not np.array_equal(after, before)


class Switch(keras.Variable):
    """Says in its own way whether it is trained."""

    @property
    def trainable(self):
        return len(X) > 0


def test_of_a_variable_that_keeps_its_settings_elsewhere_nothing_is_certain():
    model = net()
    assert Unchanged(model).holds()
    vars(model.get_layer("say"))["own"] = Switch(np.zeros(3, "float32"))
    assert not Unchanged(model).holds()


def test_numbers_in_an_array_are_read_each_time(counted):
    """They may be set where no attribute changes."""
    model = net()
    scale = np.array(2.0)
    model.get_layer("scale").scale = scale
    before = model.predict(X, verbose=0)
    scale[...] = 0.25
    assert not np.array_equal(model.predict(X, verbose=0), before)


def test_a_model_that_was_used_is_let_go():
    model = net()
    results(model)
    seen = weakref.ref(model)
    del model
    gc.collect()
    assert seen() is None


def test_copies_and_files_hold_nothing_of_it(tmp_path):
    model = net()
    results(model)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    for other in (copy.deepcopy(model), again):
        np.testing.assert_array_equal(
            convmill.accelerate(other).predict(X, verbose=0), model.predict(X, verbose=0)
        )
