"""Several threads, and code that is called back, use one model: each sees whole steps alone."""

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

from convmill import models
from convmill.train import turns
from convmill.train.turns import Turn
from tests.threads import PATIENCE, together
from tests.train.nets import assert_same_state, compiled, convnet, counter, images, seeded_fit

pytestmark = pytest.mark.usefixtures("strict")

ROOT = Path(__file__).resolve().parents[2]
X, Y = images()


def net(**options):
    return compiled(convnet(models.Sequential, **options))


def test_threads_that_predict_with_one_model():
    model = net()
    whole = model.predict(X, verbose=0)

    def again(rows, method):
        for _ in range(30):
            if method == "predict":
                found = model.predict(X[rows], verbose=0)
            else:
                found = model.predict_on_batch(X[rows])
            np.testing.assert_array_equal(found, whole[rows])

    together(
        lambda: again(slice(0, 24), "predict"),
        lambda: again(slice(24, 48), "predict"),
        lambda: again(slice(5, 6), "predict_on_batch"),
    )


def test_predictions_beside_fit_leave_the_training_as_it_is():
    """And every prediction is one of weights between two steps: all rows of one and the same."""
    alone, model = net(dropout=0.3), net(dropout=0.3)
    seeded_fit(alone, X, Y, epochs=40, batch_size=4, shuffle=False)
    same = np.repeat(X[:1], 40, axis=0)
    ended = threading.Event()

    def fit():
        try:
            seeded_fit(model, X, Y, epochs=40, batch_size=4, shuffle=False)
        finally:
            ended.set()

    def predict():
        while not ended.is_set():
            found = model.predict(same, verbose=0)
            np.testing.assert_array_equal(found, np.repeat(found[:1], 40, axis=0))

    together(fit, predict, predict)
    assert_same_state(model, alone, tolerance=0)


def test_two_fits_on_one_model_take_turns():
    """Whatever their order, no step is lost: both train with a rate of which steps add up."""
    model = counter(models.Sequential)
    x, y = np.ones((40, 1), np.float32), np.full((40, 1), 1e6, np.float32)

    def fit():
        model.fit(x, y, batch_size=1, epochs=5, shuffle=False, verbose=0)

    together(fit, fit, fit)
    assert model.get_weights()[0].item() == 600.0
    assert int(model.optimizer.iterations.numpy()) == 600


@pytest.mark.parametrize("metrics", [["accuracy"], [keras.metrics.AUC], ["mae", "accuracy"]])
def test_each_of_several_evaluations_counts_for_itself(metrics):
    """In threads, and in a callback of a fit."""
    given = [one() if isinstance(one, type) else one for one in metrics]
    model = compiled(convnet(models.Sequential), metrics=given)
    halves = [(X[:24], Y[:24]), (X[24:], Y[24:]), (X[5:9], Y[5:9])]
    alone = [model.evaluate(*half, batch_size=4, verbose=0) for half in halves]
    assert len({str(one) for one in alone}) == 3

    def again(part, expected):
        count = len(part[0])

        def work():
            for _ in range(10):
                stream = ((part[0][i : i + 4], part[1][i : i + 4]) for i in range(0, count, 4))
                found = model.evaluate(stream, steps=count // 4, verbose=0)
                assert found == expected

        return work

    together(*(again(half, expected) for half, expected in zip(halves, alone, strict=True)))
    plain = seeded_fit(model, X, Y, shuffle=False)
    model.set_weights(convnet().get_weights())
    model.compile("rmsprop", "categorical_crossentropy", metrics=given, jit_compile=False)
    inner = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: model.evaluate(X[:3], Y[:3], verbose=0)
    )
    found = seeded_fit(model, X, Y, shuffle=False, callbacks=[inner])
    assert found.history == plain.history


@pytest.mark.parametrize("methods", [("fit", "fit", "evaluate"), ("predict", "fit", "predict")])
def test_first_calls_build_a_model_once(methods):
    def call(method):
        data = (X,) if method == "predict" else (X, Y)
        return lambda: getattr(model, method)(*data, verbose=0)

    for _ in range(5):
        model = compiled(models.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)]))
        together(*(call(method) for method in methods))
        assert [tuple(weight.shape) for weight in model.weights] == [(36, 3), (3,)]


def test_each_fit_returns_its_own_history():
    model = net()
    found = {}

    def fit(epochs):
        return lambda: found.update({epochs: seeded_fit(model, X, Y, epochs=epochs).epoch})

    together(*(fit(epochs) for epochs in (1, 2, 3)))
    assert found == {1: [0], 2: [0, 1], 3: [0, 1, 2]}


def test_models_that_share_layers_take_turns():
    shared = keras.layers.Dense(1, use_bias=False)
    first, second = (models.Sequential([keras.Input((1,)), shared]) for _ in range(2))
    x, y = np.ones((40, 1), np.float32), np.full((40, 1), 1e6, np.float32)
    for model in (first, second):
        model.compile(keras.optimizers.SGD(1.0), "mean_absolute_error")
    shared.set_weights([np.zeros((1, 1), np.float32)])

    def fit(model):
        return lambda: model.fit(x, y, batch_size=1, epochs=5, shuffle=False, verbose=0)

    together(fit(first), fit(second))
    assert shared.get_weights()[0].item() == 400.0


def test_a_model_sees_what_another_has_done_to_a_shared_layer_so_far():
    """In the midst of an epoch, from the generator that feeds it."""
    shared = keras.layers.Dense(1, use_bias=False)
    trained, asked = (models.Sequential([keras.Input((1,)), shared]) for _ in range(2))
    trained.compile(keras.optimizers.SGD(1.0), "mean_absolute_error")
    shared.set_weights([np.zeros((1, 1), np.float32)])
    seen = []

    def batches():
        while True:
            found = asked.predict(np.ones((1, 1)), verbose=0).item()
            seen.append((found, int(trained.optimizer.iterations.numpy())))
            yield np.ones((2, 1), np.float32), np.full((2, 1), 1e6, np.float32)

    trained.fit(batches(), steps_per_epoch=4, shuffle=False, verbose=0)
    assert all(weight == steps for weight, steps in seen)
    assert seen[-1] == (3.0, 3)


@pytest.mark.parametrize("method", ["predict", "evaluate", "train_on_batch", "fit"])
@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end"])
def test_a_callback_may_wait_for_another_thread_that_uses_the_model(method, hook):
    model = net()
    arguments = (X,) if method == "predict" else (X, Y)
    options = {} if method == "train_on_batch" else {"verbose": 0}

    class Waiting(keras.callbacks.Callback):
        pass

    def wait(self, *_, **__):
        together(lambda: getattr(model, method)(*arguments, **options))

    setattr(Waiting, hook, wait)
    seeded_fit(model, X, Y, callbacks=[Waiting()])
    steps = int(model.optimizer.iterations.numpy())
    calls = 3 if hook == "on_train_batch_end" else 1
    more = {"train_on_batch": 1, "fit": 2}.get(method, 0)
    assert steps == 3 + calls * more


def test_a_generator_may_wait_for_another_thread_that_predicts():
    model, alone = net(), net()

    def batches(ask):
        while True:
            if ask:
                together(lambda: model.predict(X, verbose=0))
            yield X[:16], Y[:16]

    seeded_fit(model, batches(True), steps_per_epoch=4, shuffle=False, batch_size=None)
    seeded_fit(alone, batches(False), steps_per_epoch=4, shuffle=False, batch_size=None)
    assert_same_state(model, alone, tolerance=0)


def test_what_is_called_in_the_middle_of_a_step_is_told_so():
    """Here by a watch; never a wait for ever."""
    model = net()
    from convmill.runtime.program import Program

    predict, program = model.predict, Program.evaluate

    def evaluate(self, batches, *, watch=None, **options):
        predict(X[:1], verbose=0)
        return program(self, batches, watch=watch, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "evaluate", evaluate)
        with pytest.raises(RuntimeError, match="in the middle of a step"):
            model.predict(X, verbose=0)
    assert model.predict(X, verbose=0).shape == (48, 3)


def test_turns_come_in_the_order_of_asking():
    order, waiting = [], []
    first = Turn(frozenset({1, 2}))

    def later(name, keys):
        with Turn(frozenset(keys)):
            order.append(name)

    with first:
        for name, keys in (("a", {1}), ("b", {1, 3}), ("c", {3})):
            thread = threading.Thread(target=later, args=(name, keys))
            thread.start()
            waiting.append(thread)
            while len(turns._line) <= len(waiting):
                pass
        assert first.is_wanted()
        with_nobody = threading.Thread(target=later, args=("free", {9}))
        with_nobody.start()
        with_nobody.join(PATIENCE)
        assert order == ["free"]
    for thread in waiting:
        thread.join(PATIENCE)
    assert sorted(order[1:]) == ["a", "b", "c"]
    assert order.index("b") < order.index("c")
    assert order.index("a") < order.index("b")


def test_a_turn_for_more_keys_than_at_first_is_waited_for_anew():
    """Somebody goes ahead of one of them while the turn comes."""
    found = iter([frozenset({1}), frozenset({1, 2}), frozenset({1, 2})])
    entered = threading.Event()
    turn = Turn(lambda: next(found))

    def enter():
        with turn:
            entered.set()

    with Turn(frozenset({2})):
        waiting = threading.Thread(target=enter)
        waiting.start()
        while turn.keys != {1, 2} or turn not in turns._line:
            pass
        assert not entered.is_set()
        assert not turn.begun
    waiting.join(PATIENCE)
    assert entered.is_set()
    assert turns._line == []


# Signals ----------------------------------------------------------------------------------------


@pytest.fixture
def alarmed():
    """A setter of the handler of SIGUSR1, which is put back."""
    if not hasattr(signal, "SIGUSR1"):
        pytest.skip("there is no SIGUSR1")
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def inside(monkeypatch):
    """``inside(program method, action)``: calls ``action`` in the middle of each of its runs."""
    from convmill.runtime.program import Program

    def arrange(method, action):
        plain = getattr(Program, method)

        def run(self, *args, **options):
            action()
            return plain(self, *args, **options)

        monkeypatch.setattr(Program, method, run)

    return arrange


def raise_signal():
    signal.raise_signal(signal.SIGUSR1)


def test_a_handler_may_use_the_model_that_is_training(alarmed, inside):
    model, alone = net(dropout=0.3), net(dropout=0.3)
    seen = []

    def handler(number, frame):
        seen.append((int(model.optimizer.iterations.numpy()), model.predict(X, verbose=0)))

    alarmed(handler)
    inside("train", raise_signal)
    seeded_fit(model, X, Y, epochs=3)
    alarmed(signal.SIG_IGN)
    seeded_fit(alone, X, Y, epochs=3)
    assert [steps for steps, _ in seen] == [3, 6, 9]
    np.testing.assert_array_equal(seen[-1][1], model.predict(X, verbose=0))
    assert_same_state(model, alone, tolerance=0)


@pytest.mark.parametrize("method", ["predict", "evaluate"])
def test_a_handler_may_use_the_model_that_is_measuring(alarmed, inside, method):
    model = net()
    expected = model.evaluate(X, Y, verbose=0), model.predict(X, verbose=0)
    calls = []

    def handler(number, frame):
        if not calls:
            calls.append(number)
            model.predict(X[:3], verbose=0)

    alarmed(handler)
    inside("evaluate", raise_signal)
    found = model.evaluate(X, Y, verbose=0), model.predict(X, verbose=0)
    assert calls
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


def test_handlers_are_put_back(alarmed):
    def handler(number, frame):
        raise ZeroDivisionError

    alarmed(handler)
    interrupt = signal.getsignal(signal.SIGINT)
    hook = sys.unraisablehook
    model = net()

    class Raise(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise_signal()

    with pytest.raises(ZeroDivisionError):
        seeded_fit(model, X, Y, callbacks=[Raise()])
    assert signal.getsignal(signal.SIGUSR1) is handler
    assert signal.getsignal(signal.SIGINT) is interrupt
    assert sys.unraisablehook is hook


def test_a_handler_that_a_callback_sets_stays(alarmed):
    def handler(number, frame):
        raise AssertionError

    class Set(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            alarmed(handler)

    seeded_fit(net(), X, Y, callbacks=[Set()])
    assert signal.getsignal(signal.SIGUSR1) is handler


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_what_python_cannot_raise_is_raised_later():
    """Ctrl-C in a callback of the garbage collector, as JAX has one."""
    model = net()

    def collected(phase, info):
        if phase == "stop":
            signal.raise_signal(signal.SIGINT)

    class Collect(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                gc.callbacks.append(collected)
                try:
                    gc.collect()
                finally:
                    gc.callbacks.remove(collected)

    with pytest.raises(KeyboardInterrupt):
        seeded_fit(model, X, Y, epochs=5, callbacks=[Collect()])
    assert int(model.optimizer.iterations.numpy()) == 6


def test_a_callback_is_interrupted_at_once():
    """Where no step is under way, Ctrl-C does not wait."""
    seen = []

    class Interrupted(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            try:
                signal.raise_signal(signal.SIGINT)
                seen.append("went on")
            except KeyboardInterrupt:
                seen.append("heard")

    seeded_fit(net(), X, Y, callbacks=[Interrupted()])
    assert seen == ["heard"] * 3


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")  # JAX and Python warn of forks in processes of several threads
import numpy as np
import keras
from convmill import models
from tests.train.nets import compiled, convnet, images
x, y = images()
model = compiled(convnet(models.Sequential))
expected = model.predict(x, verbose=0)

class Fork(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        child = os.fork()
        if child == 0:
            found = model.predict(x, verbose=0)
            os._exit(7 if np.array_equal(found, expected) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

model.fit(x, y, callbacks=[Fork()], verbose=0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_may_predict():
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "7\n", done.stderr
