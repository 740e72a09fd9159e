"""Variables that wait for what ``train_on_batch`` has changed: whoever looks sees it."""

import copy
import functools
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models
from convmill.train import late
from tests.threads import together

pytestmark = [
    pytest.mark.usefixtures("strict"),
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="elsewhere nothing waits"),
]

RNG = np.random.default_rng(2)
X = RNG.random((6, 8, 8, 1)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 6)]
STEPS = 4
ROOT = Path(__file__).parents[2]
PATIENCE = 100


def net(optimizer="rmsprop", **options):
    keras.utils.set_random_seed(3)
    model = models.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", name="see"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.3, seed=4, name="drop"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="say"),
        ]
    )
    metrics = options.pop("metrics", ["accuracy"])
    model.compile(optimizer, "categorical_crossentropy", metrics=metrics, **options)
    return model


def long_way(model, x=X, y=Y, **options):
    """A step for which nothing was prepared."""
    return model.train_on_batch(x.tolist(), y.tolist(), **options)


def trained(model, steps=STEPS, step=None):
    """``model`` after so many steps."""
    for _ in range(steps):
        (step or (lambda each: each.train_on_batch(X, Y)))(model)
    return model


def waiting(model):
    """How many variables wait."""
    every = {id(one): one for one in [*model.variables, *model.optimizer.variables]}
    return sum(map(late.is_waiting, every.values()))


def state(model):
    return [np.asarray(one) for one in [*model.variables, *model.optimizer.variables]]


def assert_same(found, expected):
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.fixture(scope="module")
def expected():
    """The state after the steps, written back at each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVMILL_STRICT", "1")
        return state(trained(net(), step=long_way))


def saved(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def weights_saved(model, folder):
    model.save_weights(folder / "model.weights.h5")
    other = trained(net(), 1, long_way)
    other.load_weights(folder / "model.weights.h5")
    return other


# How somebody may look at weights, each: all of them as arrays.
LOOKS = {
    "get_weights": lambda model, _: model.get_weights(),
    "numpy": lambda model, _: [one.numpy() for one in model.weights],
    "asarray": lambda model, _: [np.asarray(one) for one in model.weights],
    "value": lambda model, _: [np.asarray(one.value) for one in model.weights],
    "operation": lambda model, _: [
        np.asarray(keras.ops.multiply(one, 1.0)) for one in model.weights
    ],
    "operator": lambda model, _: [np.asarray(one * 1.0) for one in model.weights],
    "item": lambda model, _: [np.asarray(one[...]) for one in model.weights],
    "jax": lambda model, _: [
        np.asarray(_jax(lambda value: value * 1.0)(one)) for one in model.weights
    ],
    "within jit": lambda model, _: _jax(lambda: [one.value * 1.0 for one in model.weights])(),
    "within a scope": lambda model, _: _in_scope(model),
    "deepcopy of variables": lambda model, _: [copy.deepcopy(one).numpy() for one in model.weights],
    "copy of variables": lambda model, _: [copy.copy(one).numpy() for one in model.weights],
    "deepcopy": lambda model, _: copy.deepcopy(model).get_weights(),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)).get_weights(),
    "file": lambda model, folder: saved(model, folder).get_weights(),
    "file of weights": lambda model, folder: weights_saved(model, folder).get_weights(),
    "layers": lambda model, _: [value for one in model.layers for value in one.get_weights()],
    "another thread": lambda model, _: _elsewhere(model.get_weights),
    "state tree": lambda model, _: _tree(model),
}


def _jax(function):
    import jax

    return jax.jit(function) if function.__code__.co_argcount == 0 else function


def _in_scope(model):
    with keras.StatelessScope():
        return [np.asarray(one.value) for one in model.weights]


def _elsewhere(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return found[0]


def _tree(model):
    tree = model.get_state_tree(value_format="numpy_array")
    found = [*keras.tree.flatten(tree["trainable_variables"])]
    return sorted(found, key=lambda one: (one.size, one.sum()))


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_whoever_looks_sees_it(look, tmp_path, expected):
    model = trained(net())
    assert waiting(model) > 10
    weights = look(model, tmp_path)
    plain = trained(net(), step=long_way)
    same = _tree(plain) if look is LOOKS["state tree"] else plain.get_weights()
    assert_same(weights, same)
    assert_same(state(model), expected)
    assert waiting(model) <= 4  # metrics alone
    assert type(model.weights[0]) is keras.Variable


def test_whoever_looks_at_the_optimizer_sees_it(tmp_path):
    model = trained(net("adam"))
    assert int(model.optimizer.iterations) == STEPS
    model = trained(net("adam"))
    other = saved(model, tmp_path)
    assert_same(state(other)[-8:], state(trained(net("adam"), step=long_way))[-8:])


def test_a_variable_that_waits_is_one_like_any_other():
    model = trained(net())
    kernel = model.get_layer("say").kernel
    assert late.is_waiting(kernel)
    assert isinstance(kernel, keras.Variable)
    assert type(kernel).__name__ == keras.Variable.__name__
    assert kernel.shape == (144, 3)
    assert kernel.dtype == "float32"
    assert late.is_waiting(kernel)
    assert "value=[[ " in repr(kernel)
    assert not late.is_waiting(kernel)


def test_what_is_assigned_stays(expected):
    model, other = trained(net()), trained(net(), step=long_way)
    for each in (model, other):
        each.get_layer("say").kernel.assign(np.ones((144, 3)))
        each.get_layer("see").bias.assign_add([1.0, 2.0, 3.0, 4.0])
        each.optimizer.learning_rate = 0.5
    assert_same(state(model), state(other))
    trained(model)
    trained(other, step=long_way)
    assert_same(state(model), state(other))


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01, amsgrad=True, clipnorm=0.5),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "schedule": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ),
    "averages": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=2),
    "accumulation": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "decay": lambda: keras.optimizers.AdamW(0.01),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_steps_and_what_they_return_are_those_of_the_long_way(make):
    model, other = net(make()), net(make())
    for step in range(6):
        x, y = X * (step + 1), np.roll(Y, step, axis=1)
        found = model.train_on_batch(x, y, return_dict=step % 2 == 0)
        assert found == long_way(other, x, y, return_dict=step % 2 == 0)
        kinds = [type(one) for one in (found.values() if isinstance(found, dict) else found)]
        assert kinds == [float, float]
    for metric, plain in zip(model.metrics, other.metrics, strict=True):
        assert [one.numpy() for one in metric.variables] == [one.numpy() for one in plain.variables]
    assert model.get_metrics_result() == other.get_metrics_result()
    assert_same(state(model), state(other))


@pytest.mark.parametrize("metrics", [[], ["accuracy"], ["accuracy", "mse"]])
def test_metrics_that_keras_counts_keep_to_the_long_way(metrics):
    model, other = net(metrics=metrics), net(metrics=metrics)
    for _ in range(3):
        assert model.train_on_batch(X, Y) == long_way(other)


def test_several_outputs():
    def towers():
        keras.utils.set_random_seed(3)
        image = keras.Input((8, 8, 1))
        flat = layers.Flatten()(image)
        outputs = [layers.Dense(3, name="a")(flat), layers.Dense(3, name="b")(flat)]
        model = models.Model(image, outputs)
        model.compile("sgd", ["mse", "mae"], metrics=[["accuracy"], []])
        return model

    model, other = towers(), towers()
    for _ in range(3):
        found = model.train_on_batch(X, [Y, Y])
        assert found == other.train_on_batch(X.tolist(), [Y.tolist(), Y.tolist()])


def test_other_calls_see_it_and_go_on():
    model, other = net(), net()
    for each, step in ((model, None), (other, long_way)):
        trained(each, step=step)
        each.found = [each.predict(X, verbose=0), each.test_on_batch(X, Y)]
        trained(each, step=step)
        each.found.append(each.evaluate(X, Y, verbose=0))
        each.found.append(each.predict_on_batch(X))
        trained(each, step=step)
        each.fit(X, Y, batch_size=2, shuffle=False, verbose=0)
        trained(each, step=step)
        each.found.append(np.asarray(each(X)))
        trained(each, step=step)
        each.found.append(keras.Model.predict(each, X, verbose=0))
    assert_same(model.found, other.found)
    assert_same(state(model), state(other))


def test_batches_of_other_sizes_take_turns():
    model, other = net(), net()
    for count in (6, 4, 6, 1, 4, 6):
        found = model.train_on_batch(X[:count], Y[:count])
        assert found == long_way(other, X[:count], Y[:count])
    assert_same(state(model), state(other))


@pytest.mark.parametrize("way", ["short", "long"])
def test_models_that_share_layers(way):
    """As a generator and what judges it; the second is built while variables of the first wait."""
    step = {"short": None, "long": long_way}[way]
    judge = trained(net(), step=step)
    other = models.Sequential([keras.Input((8, 8, 1)), judge, layers.Dense(3, name="more")])
    other.get_layer("more").set_weights([np.eye(3), np.zeros(3)])
    other.compile("sgd", "mse")
    for _ in range(3):
        trained(judge, 2, step)
        trained(other, 2, step)
    plain = net()
    trained(plain, step=long_way)
    twin = models.Sequential([keras.Input((8, 8, 1)), plain, layers.Dense(3, name="more")])
    twin.get_layer("more").set_weights([np.eye(3), np.zeros(3)])
    twin.compile("sgd", "mse", jit_compile=False)
    for _ in range(3):
        trained(plain, 2, long_way)
        trained(twin, 2, long_way)
    assert_same(other.get_weights(), twin.get_weights())
    assert_same(judge.get_weights(), plain.get_weights())


def test_what_is_refused_leaves_it_as_it_was(expected):
    model = trained(net())
    for x, y in ((X * np.nan, Y), (X[:, :3], Y), (X, Y[:, :2]), (X, Y[:2])):
        with pytest.raises(ValueError, match=r"x|y"):
            model.train_on_batch(x, y)
    assert_same(state(model), expected)


def test_arguments_are_those_of_keras():
    model = trained(net())
    expected = model.train_on_batch(X, Y, return_dict=True)
    for arguments in ({}, {"sample_weight": None}, {"class_weight": None, "return_dict": False}):
        assert isinstance(model.train_on_batch(X, y=Y, **arguments), list)
    assert model.train_on_batch(X, Y, None, None, True).keys() == expected.keys()
    weighted, other = (trained(net()) for _ in range(2))
    weight = np.arange(1, 7)
    found = weighted.train_on_batch(X, Y, weight)
    assert found == other.train_on_batch(X.tolist(), Y.tolist(), sample_weight=weight)
    for arguments in ((), (X, Y, None, None, False, 1)):
        with pytest.raises(TypeError, match=r"Trainer\.train_on_batch"):
            model.train_on_batch(*arguments)
    with pytest.raises(TypeError, match=r"Trainer.*nosuch"):
        model.train_on_batch(X, Y, nosuch=1)


def test_what_is_compiled_or_frozen_in_between_is_seen():
    model, other = net(), net()
    for each, step in ((model, None), (other, long_way)):
        trained(each, step=step)
        each.get_layer("see").trainable = False
        each.compile("adam", "mse", metrics=["accuracy"])
        trained(each, step=step)
        each.trainable = False  # before anybody has looked
        each.after = each.get_weights()
    assert_same(model.after, other.after)
    assert int(model.optimizer.iterations) == STEPS


def test_a_model_that_waits_is_let_go():
    model = trained(net())
    assert waiting(model)
    kept = model.get_layer("say").kernel
    value = trained(net(), step=long_way).get_layer("say").kernel.numpy()
    seen = weakref.ref(model)
    del model
    gc.collect()
    np.testing.assert_array_equal(kept.numpy(), value)
    del kept
    gc.collect()
    assert seen() is None


def test_callbacks_that_train_leave_the_figures_of_fit():
    """The metrics are the model's, and ``fit`` goes on counting in them."""
    histories = []
    for step in (lambda model: model.train_on_batch(X, Y), long_way):
        model = net(metrics=["accuracy", "mse"])
        side = net()

        class Between(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None, step=step, side=side):
                step(side)
                step(self.model)

        fitted = model.fit(X, Y, batch_size=2, shuffle=False, verbose=0, callbacks=[Between()])
        histories.append(fitted.history)
    assert histories[0] == histories[1]


def test_threads_that_train_and_look():
    """Each sees whole steps: one weight and the steps that were made belong together."""
    model = models.Sequential([keras.Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.125), "mae")
    x, y = np.ones((1, 1), np.float32), np.full((1, 1), 1e6, np.float32)
    for _ in range(3):
        model.train_on_batch(x, y)
    found, done = [], threading.Event()

    def look():
        while not done.is_set():
            found.append(float(model.get_weights()[0][0, 0]))

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(100):
        model.train_on_batch(x, y)
    done.set()
    thread.join(PATIENCE)
    assert all((value / 0.125).is_integer() for value in found)
    assert found == sorted(found)
    assert int(model.optimizer.iterations) == 103
    assert float(model.get_weights()[0][0, 0]) == 103 * 0.125


def test_threads_that_train_get_the_figures_of_their_own_batches():
    model = net(keras.optimizers.SGD(0.0))
    model.get_layer("drop").rate = 0.0
    expected = {number: long_way(model, X * (number + 1), Y) for number in range(3)}
    trained(model, 3)
    wrong = []

    def train(number):
        for _ in range(50):
            found = model.train_on_batch(X * (number + 1), Y)
            wrong.extend([] if found == expected[number] else [(number, found)])

    together(*(functools.partial(train, number) for number in expected))
    assert not wrong


FORK = """
import os
import sys

model = net()
for _ in range(4):
    model.train_on_batch(X, Y)
child = os.fork()
if child == 0:
    loss = model.train_on_batch(X, Y)[0]
    os._exit(7 if loss > 0 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(model.optimizer.iterations))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_goes_on_by_itself():
    """As far as JAX does, which has no threads there: native code steps on."""
    done = subprocess.run(
        [sys.executable, "-c", f"from tests.train.test_late import X, Y, net\n{FORK}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CONVMILL_STRICT": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "7 4\n", done.stderr


def test_calls_are_short(short):
    trained(net())
    assert short[0] >= STEPS - 2  # the first builds, which sets attributes


def test_restored_models_train_on(expected):
    model = trained(net(), STEPS - 1)
    convmill.restore(model)
    before = model.get_weights()
    model.train_on_batch(X, Y)
    assert int(model.optimizer.iterations) == STEPS
    assert not np.array_equal(model.get_weights()[0], before[0])
