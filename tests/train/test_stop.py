"""Ctrl-C, and several fits at once: the model stays usable, its state whole."""

import _thread
import functools
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
from tests.threads import together
from tests.train.nets import assert_same_state, compiled, convnet, images, seeded_fit

pytestmark = pytest.mark.usefixtures("strict")

ROOT = Path(__file__).resolve().parents[2]
X, Y = images()


def test_ctrl_c_inside_a_callback_leaves_the_last_finished_batch():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    stopped, two = compiled(convnet(models.Sequential)), compiled(convnet(models.Sequential))
    with pytest.raises(KeyboardInterrupt):
        seeded_fit(stopped, X, Y, callbacks=[Interrupt()], shuffle=False)
    seeded_fit(two, X[:32], Y[:32], shuffle=False)
    assert_same_state(stopped, two, tolerance=0)
    assert stopped.predict(X, verbose=0).shape == (48, 3)
    assert seeded_fit(stopped, X, Y).epoch == [0]


def test_what_a_callback_changed_before_it_failed_stays():
    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.layers[-1].bias.assign([7.0, 8.0, 9.0])
            raise RuntimeError

    model = compiled(convnet(models.Sequential))
    with pytest.raises(RuntimeError):
        seeded_fit(model, X, Y, callbacks=[Fail()])
    np.testing.assert_array_equal(model.layers[-1].bias.numpy(), [7.0, 8.0, 9.0])


def endless(monkeypatch, then):
    """Lets a native epoch last, and calls ``then`` once it has begun."""
    from convmill.runtime.program import Program

    train = Program.train

    def begun(self, batches, *args, watch=None, **kwargs):
        def watching(record):
            if record.steps:
                then()
            watch(record)

        return train(self, batches, *args, watch=watching, **kwargs)

    monkeypatch.setattr(Program, "train", begun)
    many = np.resize(X, (20_000, *X.shape[1:]))
    return many, np.resize(Y, (20_000, 3))


def test_ctrl_c_within_a_native_epoch(monkeypatch):
    x, y = endless(monkeypatch, _thread.interrupt_main)
    model = compiled(convnet(models.Sequential, dropout=0.2))
    before = model.get_weights()
    ended = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ended.append(epoch),
        on_train_end=lambda logs: ended.append("train"),
    )
    with pytest.raises(KeyboardInterrupt):
        seeded_fit(model, x, y, batch_size=1, epochs=1000, callbacks=[watch])
    assert ended == []
    done = int(model.optimizer.iterations.numpy())
    assert 0 < done < 1000 * len(x)
    assert int(model.layers[3].seed_generator.state.numpy()[1]) == done
    assert not np.array_equal(before[0], model.get_weights()[0])
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    monkeypatch.undo()
    monkeypatch.setenv("CONVMILL_STRICT", "1")
    assert seeded_fit(model, X, Y).epoch == [0]


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_ctrl_c_within_a_native_pass(monkeypatch, method):
    from convmill.runtime.program import Program

    plain, done = Program.evaluate, []

    def interrupted(self, batches, *args, **options):
        _thread.interrupt_main()
        measured = plain(self, batches, *args, **options)
        done.append(measured.steps)
        return measured

    monkeypatch.setattr(Program, "evaluate", interrupted)
    model = compiled(convnet(models.Sequential))
    x, y = np.resize(X, (200_000, *X.shape[1:])), np.resize(Y, (200_000, 3))
    with pytest.raises(KeyboardInterrupt):
        getattr(model, method)(*((x, y) if method == "evaluate" else (x,)), batch_size=1, verbose=0)
    assert sum(done) < len(x) / 2
    monkeypatch.undo()
    assert model.predict(X, verbose=0).shape == (48, 3)


SIGNALLED = """
import sys, threading, time
import numpy as np
from convmill import layers, models
model = models.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])
model.compile("sgd", "mse")
x, y = np.ones((50_000, 8, 8, 1)), np.zeros((50_000, 4))
model.fit(x[:64], y[:64], verbose=0)
try:
    print("ready", flush=True)
    model.fit(x, y, batch_size=8, epochs=100_000, verbose=0)
except KeyboardInterrupt:
    print("stopped", model.predict(x[:2], verbose=0).shape, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent otherwise there")
def test_a_signal_stops_a_running_process(start, tmp_path):
    process = start(
        [sys.executable, "-c", SIGNALLED],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "ready\n"
    threading.Event().wait(0.3)  # so that native code runs; if not yet, nothing else is expected
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert out == "stopped (2, 4)\n"
    assert process.returncode == 0


def test_two_fits_in_two_threads_do_not_disturb_each_other():
    """Each learns what it learns alone, bit for bit."""

    def learn(seed, results):
        x, y = images(640, seed=seed)
        model = nets[seed]
        # shuffle=False: NumPy's generator is the process's
        model.fit(x, y, batch_size=4, epochs=5, shuffle=False, verbose=0)
        results[seed] = model.get_weights()

    alone, beside = {}, {}
    for results in (alone, beside):
        nets = {seed: compiled(convnet(models.Sequential)) for seed in (1, 2)}
        works = [functools.partial(learn, seed, results) for seed in nets]
        if results is beside:
            together(*works)
        else:
            for work in works:
                work()
    for seed, weights in alone.items():
        for mine, other in zip(beside[seed], weights, strict=True):
            np.testing.assert_array_equal(mine, other)
    assert not np.array_equal(alone[1][0], alone[2][0])
