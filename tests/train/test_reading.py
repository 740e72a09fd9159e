"""Streams are read as Keras on JAX reads them: the same batches, in the order, when and as often.

Every kind of stream goes through ``fit``, ``evaluate`` and ``predict`` of plain Keras and of ours;
a journal notes what is asked of the stream, what callbacks hear and which batches come, and the
two journals must be the same. Where nobody hears of batches, some are read before the one in front
of them has run. An item tells who it is: its images are full of its number.
"""

import random
import threading

import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from convmill.train import gather
from tests.train.nets import Unknown

pytestmark = [
    pytest.mark.usefixtures("strict"),
    # Keras says so for every generator, as shuffle=True is the default
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed, but will be ignored"),
    pytest.mark.filterwarnings("ignore:Your input ran out of data"),
]

COUNT, SIZE = 5, 2  # batches of a stream, images of a batch
PATIENCE = 600  # seconds that a thread may be waited for


class Journal(keras.callbacks.Callback):
    """What happened, in its order. It hears of batches only where it is asked to."""

    def __init__(self, hears_batches):
        super().__init__()
        self.lines = []
        for kind in ("train", "epoch", "test", "predict"):
            for name in (f"on_{kind}_begin", f"on_{kind}_end"):
                setattr(self, name, self._hook(name))
                if hears_batches and kind != "epoch":
                    name = name.replace(kind, f"{kind}_batch")
                    setattr(self, name, self._hook(name))

    def _hook(self, name):
        def note(*arguments, logs=None):
            self.note(name, *(index for index in arguments if isinstance(index, int)))

        return note

    def note(self, *what):
        self.lines.append(what)

    def ran(self, x):
        """A step ran on these images."""
        self.note("ran", *np.asarray(x)[:, 0, 0, 0].tolist())


def item(number):
    """A batch that tells its number in each of its pixels."""
    x = np.full((SIZE, 2, 2, 1), number, "float32")
    return x, np.zeros((SIZE, 1), "float32")


class Items(keras.utils.PyDataset):
    """A stream by index, which notes what it is asked for.

    ``fresh`` gives another item at each call, as augmentation does; ``draws`` one that depends on
    the global random numbers.
    """

    def __init__(self, journal, name, fresh=False, draws=False, endless=False, **kwargs):
        super().__init__(**kwargs)
        self.journal, self.name = journal, name
        self.fresh, self.draws, self.endless = fresh, draws, endless
        self.calls = [0] * 100
        self.epochs = 0
        self.called = threading.Condition()

    @property
    def num_batches(self):
        return None if self.endless else COUNT

    def __getitem__(self, index):
        if self.workers > 1:
            self._wait_for_the_others(index)
        else:
            self.journal.note(self.name, "item", index)
        self.calls[index] += 1
        number = index + 10 * self.epochs
        if self.fresh:
            number += 100 * sum(self.calls)
        if self.draws:
            number += 1000 * np.random.randint(1000) + 10**6 * random.randrange(10)
        return item(number)

    def _wait_for_the_others(self, index):
        """Item 0 waits until all have been asked for: what Keras' queue holds is then no chance."""
        with self.called:
            self.asked = getattr(self, "asked", [0] * COUNT)
            self.asked[index] += 1
            self.called.notify_all()
            if index == 0:
                round_ = self.asked[0]
                assert self.called.wait_for(lambda: min(self.asked) >= round_, PATIENCE)

    def on_epoch_begin(self):
        self.journal.note(self.name, "on_epoch_begin")

    def on_epoch_end(self):
        self.journal.note(self.name, "on_epoch_end")
        self.epochs += 1


def generator(journal, name, count=None, draws=False):
    """A stream that cannot go back; endless unless ``count`` says how many batches it has."""
    number = 0
    while count is None or number < count:
        journal.note(name, "item", number)
        yield item(number + (1000 * np.random.randint(1000) if draws else 0))
        number += 1
    journal.note(name, "end")


def torch_loader(journal, name):
    """PyTorch's stream; its items are batches already."""
    data = pytest.importorskip("torch.utils.data")

    class Listed(data.Dataset):
        def __len__(self):
            return COUNT

        def __getitem__(self, index):
            journal.note(name, "item", index)
            return item(index)

    return data.DataLoader(Listed(), batch_size=None)


def tf_dataset(journal, name):
    """TensorFlow's stream."""
    tf = pytest.importorskip("tensorflow")
    arrays = tuple(map(np.stack, zip(*map(item, range(COUNT)), strict=True)))
    return tf.data.Dataset.from_tensor_slices(arrays)


def endless_tf_dataset(journal, name):
    return tf_dataset(journal, name).repeat()


STREAMS = {
    "torch loader": torch_loader,
    "tf dataset": tf_dataset,
    "endless tf dataset": endless_tf_dataset,
    "dataset": Items,
    "fresh": lambda *names: Items(*names, fresh=True),
    "drawing": lambda *names: Items(*names, draws=True),
    "without workers": lambda *names: Items(*names, workers=0),
    "two workers": lambda *names: Items(*names, workers=2),
    "endless": lambda *names: Items(*names, endless=True),
    "generator": generator,
    "drawing generator": lambda *names: generator(*names, draws=True),
    "ending generator": lambda *names: generator(*names, count=2 * COUNT),
}
ENDLESS = ("endless", "endless tf dataset", "generator", "drawing generator", "ending generator")


class Watched(keras.Sequential):
    """Plain Keras, run eagerly, but its steps only note what they are to run on."""

    journal: Journal

    def train_step(self, state, data):
        self.journal.ran(data[0])
        return {}, state

    def test_step(self, state, data):
        self.journal.ran(data[0])
        return {}, state

    def predict_step(self, state, data):
        x = keras.utils.unpack_x_y_sample_weight(data)[0]
        self.journal.ran(x)
        return np.mean(x, axis=(1, 2)), state[1]


def net(kind, journal, built=True, **options):
    """A net whose output is the number of the item; with a rate of 0 it stays that."""
    stack = [layers.GlobalAveragePooling2D(), layers.Dense(1, kernel_initializer="ones")]
    model = kind([keras.Input((2, 2, 1)), *stack] if built else stack)
    model.compile(
        keras.optimizers.SGD(0.0), "mse", metrics=["accuracy"],
        run_eagerly=kind is Watched, **options,
    )
    model.journal = journal  # Keras keeps it as it is
    return model


@pytest.fixture
def both(monkeypatch):
    """``both(scenario, ...)`` runs it with plain Keras and with ours, and compares all: but for how
    often items were asked for where that is not ``counted``."""
    from convmill.runtime.program import Program

    monkeypatch.setattr(gather, "LONG_SECONDS", float("inf"))

    def run(scenario, kind, hears_batches=False, counted=True, **options):
        seen = []
        for make in (Watched, models.Sequential):
            journal = Journal(hears_batches)
            model = net(make, journal, **options)
            _watch(monkeypatch, Program, journal)
            np.random.seed(11)
            random.seed(12)
            streams = []

            def stream(name, journal=journal, streams=streams):
                streams.append(STREAMS[kind](journal, name))
                return streams[-1]

            predicted = scenario(model, stream, [journal])
            counts = [made.calls for made in streams if counted and isinstance(made, Items)]
            drawn = (np.random.random(), random.random())
            seen.append((_told(journal.lines, hears_batches), counts, drawn, predicted))
        theirs, ours = seen
        assert ours[:3] == theirs[:3]
        if theirs[3] is not None:
            np.testing.assert_array_equal(ours[3], theirs[3])

    return run


def _told(lines, hears_batches):
    """All that happened in its order; or, apart, without what ran, and without what streams were
    asked."""
    if hears_batches:
        return [lines]
    asked, ran = [], []
    for line in lines:
        if line[0] == "ran":
            ran += [("ran", image) for image in line[1:]]
            continue
        asked.append(line)
        if len(line) == 1 or not isinstance(line[1], str):  # else a stream's
            ran.append(line)
    return [asked, ran]


def _watch(monkeypatch, program, journal):
    """Has a Program note what it runs on; ``predict`` runs through ``evaluate``."""
    for name in ("train", "evaluate"):
        method = getattr(program, name)
        method = getattr(method, "watched", method)

        def watched(self, batches, *args, method=method, **kwargs):
            for start in range(0, len(batches.order), batches.batch_size):
                journal.ran(batches.inputs[0][batches.order[start : start + batches.batch_size]])
            return method(self, batches, *args, **kwargs)

        watched.watched = method
        monkeypatch.setattr(program, name, watched)


def finite(kind):
    """Arguments that end an epoch of a stream that does not end by itself."""
    return {"steps_per_epoch": 3} if kind in ENDLESS else {}


def fit_twice(kind, **arguments):
    """A first fit, which builds the model, and one more on the same stream and on another."""

    def scenario(model, stream, callbacks):
        first = stream("x")
        for x in (first, first, stream("z")):
            more = {"validation_data": stream("held out")} if arguments.get("validated") else {}
            if more and kind in ENDLESS:
                more["validation_steps"] = 2
            given = {key: value for key, value in arguments.items() if key != "validated"}
            model.fit(
                x, verbose=0, callbacks=callbacks, **({"epochs": 2} | finite(kind) | given | more)
            )

    return scenario


ARGUMENTS = {
    "plain": {},
    "ordered": {"shuffle": False},
    "steps": {"steps_per_epoch": 2, "epochs": 4},
    "validated": {"validated": True},
    "validated late": {"validated": True, "validation_freq": [2], "epochs": 3},
    "later": {"initial_epoch": 2, "epochs": 4},
    "no epoch": {"epochs": 0},
    "behind the last": {"initial_epoch": 3, "epochs": 3},
}


@pytest.mark.parametrize("hears_batches", [False, True], ids=["quiet", "hooked"])
@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("kind", ["dataset", "generator"])
def test_fit_reads_what_keras_reads(both, kind, name, hears_batches):
    both(fit_twice(kind, **ARGUMENTS[name]), kind, hears_batches)


@pytest.mark.parametrize("name", ["plain", "steps", "validated late"])
@pytest.mark.parametrize(
    "kind", [kind for kind in STREAMS if kind not in ("dataset", "generator", "ending generator")]
)
def test_every_stream_is_read_as_keras_reads_it(both, kind, name):
    if kind == "two workers" and name == "steps":
        pytest.skip("what threads have read when an epoch is broken off is chance")
    both(fit_twice(kind, **ARGUMENTS[name]), kind)


@pytest.mark.parametrize("kind", STREAMS)
def test_evaluate_reads_what_keras_reads(both, kind):
    """Twice: the first call builds loss and metrics."""

    def scenario(model, stream, callbacks):
        steps = {"steps": 2} if kind in ENDLESS else {}
        x = stream("x")
        for data in (x, x, stream("z")):
            model.evaluate(data, verbose=0, callbacks=callbacks, return_dict=True, **steps)

    both(scenario, kind, hears_batches="generator" not in kind)


@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize("kind", STREAMS)
def test_predict_reads_what_keras_reads(both, kind, built):
    def scenario(model, stream, callbacks):
        steps = {"steps": 2} if kind in ENDLESS else {}
        x = stream("x")
        return np.concatenate([
            model.predict(data, verbose=0, callbacks=callbacks, **steps)
            for data in (x, x, stream("z"))
        ])

    both(scenario, kind, hears_batches=not built, built=built)


@pytest.mark.parametrize("hears_batches", [False, True], ids=["quiet", "hooked"])
@pytest.mark.parametrize("kind", ["dataset", "drawing", "generator", "ending generator"])
def test_a_model_is_built_on_what_keras_builds_it_on(both, kind, hears_batches):
    """The layers are built on the first batch; then two steps between hooks; then predict."""

    def scenario(model, stream, callbacks):
        more = {"steps_per_epoch": 3} if kind in ENDLESS else {}
        model.fit(stream("x"), verbose=0, callbacks=callbacks, epochs=3, shuffle=False, **more)
        return model.predict(stream("z"), verbose=0, callbacks=callbacks, steps=2)

    both(scenario, kind, hears_batches, built=False, steps_per_execution=2)


@pytest.mark.parametrize("hears_batches", [False, True], ids=["quiet", "hooked"])
def test_a_generator_that_ends_is_begun_anew_with_the_batches_that_keras_has_kept(
    both, hears_batches
):
    def scenario(model, stream, callbacks):
        model.fit(stream("x"), epochs=3, verbose=0, callbacks=callbacks)

    both(scenario, "ending generator", hears_batches)


@pytest.mark.parametrize("hears_batches", [False, True], ids=["quiet", "hooked"])
@pytest.mark.parametrize("shuffle", [True, False, "batch"])
@pytest.mark.parametrize("steps", [None, 2, 3, 4])
def test_arrays_are_read_in_keras_order(both, shuffle, steps, hears_batches):
    """Random numbers are drawn where Keras draws them: callbacks and streams see others else."""

    def scenario(model, stream, callbacks):
        x = np.arange(7, dtype="float64")[:, None, None, None] * np.ones((2, 2, 1))
        drawing = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: callbacks[0].note(np.random.random()),
            on_epoch_end=lambda epoch, logs: callbacks[0].note(np.random.random()),
        )
        for _ in range(2):
            model.fit(
                x, x[:, 0, 0, 0], batch_size=2, epochs=3, verbose=0, shuffle=shuffle,
                steps_per_epoch=steps, callbacks=[*callbacks, drawing],
                validation_data=stream("held out"),
            )
        model.evaluate(x, x[:, 0, 0, 0], batch_size=3, verbose=0, callbacks=callbacks)

    both(scenario, "drawing", hears_batches)


@pytest.mark.parametrize("kind", ["dataset", "two workers", "generator"])
def test_an_epoch_that_is_broken_off_is_read_no_further(both, kind):
    """Nor is the stream told that the epoch has ended; then it is fitted once more."""

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 3

        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = batch == 3

        def on_predict_batch_end(self, batch, logs=None):
            self.model.stop_predicting = batch == 3

    def scenario(model, stream, callbacks):
        callbacks = [*callbacks, Stop()]
        steps = {"steps_per_epoch": 5} if kind in ENDLESS else {}
        for _ in range(2):
            model.fit(stream("x"), epochs=2, verbose=0, callbacks=callbacks, **steps)
        model.evaluate(stream("y"), verbose=0, callbacks=callbacks, steps=5)
        return model.predict(stream("z"), verbose=0, callbacks=callbacks, steps=5)

    # what threads have read ahead when an epoch is broken off is chance
    both(scenario, kind, hears_batches=True, counted=kind != "two workers")


@pytest.mark.parametrize("hears_batches", [False, True], ids=["quiet", "hooked"])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_what_a_stream_raises_comes_through(both, method, hears_batches):
    class Gone(OSError):
        pass

    def scenario(model, stream, callbacks):
        def broken():
            for number, batch in enumerate(stream("x")):
                if number == 4:
                    raise Gone
                yield batch

        model.fit(stream("first"), steps_per_epoch=2, verbose=0, callbacks=callbacks)
        with pytest.raises(Gone):
            getattr(model, method)(broken(), verbose=0, callbacks=callbacks)

    both(scenario, "generator", hears_batches)


def test_a_run_that_is_stopped_as_it_begins_makes_one_step(both):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

        def on_test_begin(self, logs=None):
            self.model.stop_evaluating = True

        def on_predict_begin(self, logs=None):
            self.model.stop_predicting = True

    def scenario(model, stream, callbacks):
        x = np.arange(7, dtype="float32")[:, None, None, None] * np.ones((2, 2, 1), "float32")
        callbacks = [*callbacks, Stop()]
        model.fit(x, x[:, 0, 0, 0], 2, epochs=3, verbose=0, callbacks=callbacks)
        model.evaluate(x, x[:, 0, 0, 0], 2, verbose=0, callbacks=callbacks)
        return model.predict(x, 2, verbose=0, callbacks=callbacks)

    both(scenario, "dataset")


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize("kind", ["dataset", "drawing", "two workers", "generator"])
def test_where_keras_takes_over_it_reads_what_it_would_have_read(
    kind, built, method, monkeypatch, capsys
):
    """Also where a batch was read to build the model, and to see that it is not covered."""
    monkeypatch.setenv("CONVMILL_STRICT", "0")
    seen = []
    for make in (keras.Sequential, models.Sequential):
        journal = Journal(hears_batches=True)
        stack = [Unknown(), layers.GlobalMaxPooling2D()]
        model = make([keras.Input((2, 2, 1)), *stack] if built else stack)
        model.compile("sgd", "mse", metrics=["mae"])
        np.random.seed(11)
        random.seed(12)
        for _ in range(2):
            steps = {"generator": {"steps_per_epoch" if method == "fit" else "steps": 3}}
            getattr(model, method)(
                STREAMS[kind](journal, "x"), verbose=0, callbacks=[journal], **steps.get(kind, {})
            )
        seen.append((journal.lines, np.random.random(), random.random()))
    assert seen[1] == seen[0]
    assert "Not covered: " in capsys.readouterr().err
