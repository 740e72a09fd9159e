"""An interrupt at any line of ours leaves whole steps behind, and nothing else."""

import os
import signal
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models
from convmill.train import signals, turns
from convmill.train import state as model_state
from tests.tracing import Tracer, traced

pytestmark = pytest.mark.usefixtures("strict")

PACKAGE = Path(convmill.__file__).parent
# Where a step's results are computed, kept and written back.
FILES = frozenset(
    str(PACKAGE / name)
    for name in (
        *(f"train/{name}.py" for name in ("bound", "state", "calls", "loaded", "session")),
        *(f"train/{name}.py" for name in ("signals", "turns", "route", "repeat", "late")),
        *(f"train/{name}.py" for name in ("beside", "part")),
        *(f"runtime/{name}.py" for name in ("program", "repeat", "weights", "workers")),
    )
)
RNG = np.random.default_rng(0)
X = RNG.random((4, 4)).astype(np.float32)
Y = RNG.random((4, 2)).astype(np.float32)
STEPS = 2
PATIENCE = 600


def net():
    keras.utils.set_random_seed(3)
    stack = [keras.Input((4,)), layers.Dropout(0.3, seed=4), layers.Dense(2)]
    model = models.Sequential(stack)
    model.compile("adam", "mse", jit_compile=False)
    return model


def batches():
    while True:
        yield X, Y


def by_stream(model):
    """Nothing is written back between the two steps."""
    model.fit(batches(), steps_per_epoch=STEPS, shuffle=False, verbose=0)


def by_batch(model):
    """The short way: nothing is written back until somebody looks."""
    for _ in range(STEPS):
        model.train_on_batch(X, Y)


def by_batch_looked_at(model):
    """The same, looked at in between and behind it."""
    for _ in range(STEPS):
        model.train_on_batch(X, Y)
        model.get_weights()


def by_lists(model):
    """The long way, each time."""
    for _ in range(STEPS):
        model.train_on_batch(X.tolist(), Y.tolist())


def by_hooks(model):
    """Written back at each step."""
    both = np.concatenate([X, X]), np.concatenate([Y, Y])
    hook = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    model.fit(*both, batch_size=len(X), shuffle=False, verbose=0, callbacks=[hook])


def variables(model):
    return [*model.variables, *model.optimizer.variables]


def state(model):
    """All that a step changes, but for the metrics: bits."""
    metrics = {id(one) for metric in model.metrics for one in metric.variables}
    found = [one for one in variables(model) if id(one) not in metrics]
    return tuple(np.asarray(one.numpy()).tobytes() for one in found)


def interrupt():
    raise KeyboardInterrupt


def press():
    signal.raise_signal(signal.SIGINT)


def run_elsewhere(run, model):
    """In another thread, which would wait for ever for a lock that was left locked."""
    thread = threading.Thread(target=run, args=(model,), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it waits for ever"


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is raised otherwise there")
@pytest.mark.parametrize("strike", [interrupt, press])
@pytest.mark.parametrize("run", [by_stream, by_batch, by_batch_looked_at, by_lists, by_hooks])
def test_an_interrupt_at_any_line(run, strike):
    model = net()
    model.train_on_batch(X, Y)
    beginning = [one.numpy() for one in variables(model)]

    def begin():
        for one, value in zip(variables(model), beginning, strict=True):
            one.assign(value)

    begin()
    whole = {state(model): 0}
    for step in range(STEPS):
        model.train_on_batch(X, Y)
        whole[state(model)] = step + 1
    assert len(whole) == STEPS + 1
    handler = signal.getsignal(signal.SIGINT)
    counter = Tracer(FILES)
    begin()
    run(model)  # so that all later runs pass the same lines
    begin()
    with traced(counter):
        run(model)
    assert whole[state(model)] == STEPS
    places = {at: place for place, at in counter.last.items()}
    assert len(places) > 150
    reached = set()
    for at in sorted(places):
        begin()
        place = f"{places[at]} at {at}"
        tracer = Tracer(FILES, strike, at)
        try:
            with traced(tracer):
                run(model)
        except KeyboardInterrupt:
            pass
        else:  # a run that waits less for another thread passes fewer lines
            assert tracer.count < at, f"not heard: {place}"
        assert state(model) in whole, place
        reached.add(whole[state(model)])
        assert signal.getsignal(signal.SIGINT) is handler, place
        assert turns.mine() == [], place
        assert model_state._ahead == [], place
        assert signals.depth() == 0, place
    assert len(reached) > 1
    begin()
    run_elsewhere(run, model)
    assert whole[state(model)] == STEPS
