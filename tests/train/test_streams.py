"""Input that is no array: generators and PyDatasets, batch by batch into the compiled step."""

import os
import signal
import threading
from contextlib import contextmanager

import keras
import numpy as np
import pytest

from convmill import models
from convmill.train import gather, progress
from tests.train.nets import (
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    images,
    seeded_fit,
)

pytestmark = [
    pytest.mark.usefixtures("strict"),
    # Keras says so for every generator, as shuffle=True is the default
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed, but will be ignored"),
]

X, Y = images()
SIZE = 16
PATIENCE = 600


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """What may be gathered is gathered, however long it takes to come."""
    monkeypatch.setattr(gather, "LONG_SECONDS", float("inf"))
    monkeypatch.setattr(gather, "AT_ONCE_SECONDS", float("inf"))


@pytest.fixture
def calls(monkeypatch):
    """The batches of each call of Program.train: the list is filled while a model is fitted."""
    from convmill.runtime.program import Program

    found, original = [], Program.train

    def spy(self, given, *args, **kwargs):
        found.append(given)
        return original(self, given, *args, **kwargs)

    monkeypatch.setattr(Program, "train", spy)
    return found


def batches(x=X, y=Y, size=SIZE, weights=None):
    """Batches for ever."""
    while True:
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            yield (x[part], y[part]) if weights is None else (x[part], y[part], weights[part])


class Rows(keras.utils.PyDataset):
    """The same batches by index; counts how often it is told of an epoch."""

    def __init__(self, x=X, y=Y, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.epochs = x, y, 0

    def __len__(self):
        return -(-len(self.x) // SIZE)

    def __getitem__(self, index):
        part = slice(index * SIZE, (index + 1) * SIZE)
        return self.x[part], self.y[part]

    def on_epoch_end(self):
        self.epochs += 1


def pair(**options):
    return [compiled(convnet(kind), **options) for kind in (keras.Sequential, models.Sequential)]


def both_fit(make, **arguments):
    """Fits plain Keras and ours on streams that ``make`` gives, and compares."""
    theirs, ours = pair(weighted_metrics=["accuracy"])
    arguments = {"batch_size": None} | arguments
    expected = seeded_fit(theirs, make(), **arguments)
    assert_same_history(seeded_fit(ours, make(), **arguments), expected)
    assert_same_state(ours, theirs)


def test_a_generator_that_goes_on_for_ever():
    both_fit(batches, steps_per_epoch=2, epochs=3)


def test_a_generator_with_sample_weights():
    both_fit(lambda: batches(weights=np.linspace(0, 2, len(X))), steps_per_epoch=3)


def test_a_generator_to_validate_with():
    theirs, ours = pair()
    arguments = {"steps_per_epoch": 3, "batch_size": None, "epochs": 2, "validation_steps": 2}
    expected = seeded_fit(theirs, batches(), validation_data=batches(), **arguments)
    found = seeded_fit(ours, batches(), validation_data=batches(), **arguments)
    assert_same_history(found, expected)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_dataset_by_index(shuffle):
    both_fit(Rows, shuffle=shuffle, epochs=2)


def test_a_second_fit_on_a_dataset_is_shuffled_as_in_keras():
    theirs, ours = pair()
    for _ in range(2):
        expected = seeded_fit(theirs, Rows(), batch_size=None, shuffle=True)
        assert_same_history(seeded_fit(ours, Rows(), batch_size=None, shuffle=True), expected)


def test_a_dataset_with_class_weights():
    both_fit(Rows, class_weight={0: 1.0, 1: 3.0, 2: 0.5})


def test_a_dataset_with_class_weights_of_other_keys():
    _, ours = pair()
    with pytest.warns(UserWarning, match="Received: class_weight with the key 'a'"):
        ours.fit(Rows(), class_weight={"a": 1.0}, verbose=0)


def test_a_dataset_read_by_threads():
    both_fit(lambda: Rows(workers=2, max_queue_size=2), shuffle=False)


def test_a_dataset_hears_of_its_epochs():
    theirs, ours = pair()
    told = [Rows(), Rows()]
    seeded_fit(theirs, told[0], batch_size=None, epochs=3)
    seeded_fit(ours, told[1], batch_size=None, epochs=3)
    assert told[1].epochs == told[0].epochs


def test_a_model_without_input_is_built_on_the_first_batch():
    def build(kind):
        keras.utils.set_random_seed(3)
        net = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
        return compiled(kind(net))

    theirs, ours = build(keras.Sequential), build(models.Sequential)
    arguments = {"steps_per_epoch": 3, "batch_size": None}
    expected = seeded_fit(theirs, batches(), **arguments)
    assert_same_history(seeded_fit(ours, batches(), **arguments), expected)
    assert_same_state(ours, theirs)


def test_evaluate_and_predict():
    theirs, ours = pair()
    expected = theirs.evaluate(Rows(), verbose=0)
    np.testing.assert_allclose(ours.evaluate(Rows(), verbose=0), expected, atol=2e-5)
    np.testing.assert_allclose(
        ours.predict(Rows(), verbose=0), theirs.predict(X, SIZE, verbose=0), atol=2e-5
    )
    assert ours.predict(batches(), steps=2, verbose=0).shape == (32, 3)


def test_batches_of_different_sizes():
    def uneven():
        for size in (16, 1, 15):
            yield X[:size], Y[:size]

    model = compiled(convnet(models.Sequential))
    with pytest.warns(UserWarning, match="ran out of data"):
        seeded_fit(model, uneven(), batch_size=None)
    assert model.optimizer.iterations.numpy() == 3


def test_an_error_in_a_generator_goes_on_and_keeps_what_was_learned():
    def failing():
        for number, batch in enumerate(batches()):
            if number == 3:
                raise OSError("the disk is gone")
            yield batch

    model, three = compiled(convnet(models.Sequential)), compiled(convnet(models.Sequential))
    with pytest.raises(OSError, match="the disk is gone"):
        seeded_fit(model, failing(), steps_per_epoch=5, batch_size=None)
    seeded_fit(three, batches(), steps_per_epoch=3, batch_size=None)
    assert_same_state(model, three, tolerance=0)
    assert model.predict(X, verbose=0).shape == (48, 3)


def test_a_generator_that_ends_too_early():
    def two():
        for _, batch in zip(range(2), batches(), strict=False):
            yield batch

    model = compiled(convnet(models.Sequential))
    with (
        pytest.warns(UserWarning, match="ran out of data"),
        pytest.raises(ValueError, match=r"no batch for epoch 2 of 3"),
    ):
        seeded_fit(model, two(), steps_per_epoch=2, epochs=3, batch_size=None)
    assert model.optimizer.iterations.numpy() == 2


def test_an_empty_generator():
    model = compiled(convnet(models.Sequential))
    with pytest.raises(ValueError, match="empty generator"):
        seeded_fit(model, iter_of([]), batch_size=None)


def iter_of(items):
    yield from items


def test_a_generator_whose_batches_change_their_shape():
    def growing():
        yield X[:16], Y[:16]
        yield X[:16], Y[:16]
        yield np.zeros((16, 7, 7, 1)), Y[:16]

    model = compiled(convnet(models.Sequential))
    with pytest.raises(ValueError, match=r"batch 2 .*Received: x of shape \(16, 7, 7, 1\)"):
        seeded_fit(model, growing(), steps_per_epoch=3, batch_size=None)
    assert model.optimizer.iterations.numpy() == 2


@pytest.mark.parametrize("bad", [0, 2])
def test_a_bad_label_names_its_batch(bad):
    def labelled():
        for batch in range(3):
            yield X[:16], np.full(16, 3 if batch == bad else 0)

    model = compiled(convnet(models.Sequential), loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=rf"batch {bad} .*Received: y\[0\] = 3"):
        seeded_fit(model, labelled(), steps_per_epoch=3, batch_size=None)
    assert model.optimizer.iterations.numpy() == bad


def test_a_generator_may_ask_the_model_that_it_feeds():
    seen = []

    def asking(model):
        for batch in batches():
            seen.append(model.predict(X[:4], verbose=0))
            yield batch

    asked, alone = compiled(convnet(models.Sequential)), compiled(convnet(models.Sequential))
    seeded_fit(asked, asking(asked), steps_per_epoch=6, batch_size=None)
    seeded_fit(alone, batches(), steps_per_epoch=6, batch_size=None)
    assert_same_state(asked, alone, tolerance=0)
    # two batches are drawn before training begins, so the fourth answer is of trained weights
    assert not np.array_equal(seen[0], seen[3])


def test_a_stream_takes_no_validation_split():
    model = compiled(convnet(models.Sequential))
    with pytest.raises(ValueError, match="validation_split needs arrays"):
        seeded_fit(model, batches(), validation_split=0.2, batch_size=None)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("make", [Rows, batches])
def test_images_of_a_large_batch_are_read_where_they_are(make, dtype, monkeypatch, calls):
    monkeypatch.setattr(gather, "AT_ONCE_BYTES", 0)
    model = compiled(convnet(models.Sequential))
    x = (X * 200).astype(dtype)
    model.fit(make(x, Y), verbose=0, steps_per_epoch=2)
    assert [np.shares_memory(given.inputs[0], x) for given in calls] == [True, True]


def test_a_batch_that_was_long_in_coming_is_not_kept_waiting(monkeypatch, calls):
    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    model = compiled(convnet(models.Sequential))
    model.fit(batches(), verbose=0, steps_per_epoch=3)
    assert [len(given.order) for given in calls] == [16, 16, 16]


def test_the_next_batch_is_read_while_one_is_trained(monkeypatch):
    from convmill.runtime.program import Program

    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    original, drawn = Program.train, [threading.Event() for _ in range(3)]
    met = []

    def train(self, *args, **kwargs):
        if len(met) < 2:
            met.append(drawn[len(met) + 1].wait(PATIENCE))
        return original(self, *args, **kwargs)

    def told():
        for event, batch in zip(drawn, batches(), strict=False):
            event.set()
            yield batch

    beside, alone = compiled(convnet(models.Sequential)), compiled(convnet(models.Sequential))
    seeded_fit(alone, batches(), steps_per_epoch=3, batch_size=None)
    monkeypatch.setattr(Program, "train", train)
    seeded_fit(beside, told(), steps_per_epoch=3, batch_size=None)
    assert met == [True] * 2
    assert_same_state(beside, alone, tolerance=0)


def test_what_is_trained_beside_reading_ends_when_reading_is_interrupted(monkeypatch):
    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    model = compiled(convnet(models.Sequential))

    def interrupted():
        yield X[:16], Y[:16]
        yield X[16:32], Y[16:32]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(interrupted(), steps_per_epoch=3, verbose=0)
    assert threading.active_count() == len([one for one in threading.enumerate() if one.daemon]) + 1
    assert model.optimizer.iterations.numpy() in (1, 2)
    before = model.get_weights()
    model.predict(X[:4], verbose=0)
    assert all(map(np.array_equal, model.get_weights(), before))


def same_place(sizes, weights):
    """Batches that all come in the same arrays, filled anew each time."""
    x, y, weight = np.empty_like(X[:16]), np.empty_like(Y[:16]), np.empty(16)
    start = 0
    for size in sizes:
        part = slice(start, start := start + size)
        x[:size], y[:size], weight[:size] = X[part], Y[part], weights[part]
        yield x[:size], y[:size], weight[:size]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_small_batches_are_trained_in_one_call(monkeypatch, calls):
    together, alone = compiled(convnet(models.Sequential)), compiled(convnet(models.Sequential))
    weights = np.linspace(0, 2, len(X))
    sizes = (9, 9, 5, 5, 4, 8, 8)
    seeded_fit(together, same_place(sizes, weights), batch_size=None)
    assert [(given.batch_size, len(given.order)) for given in calls] == [(9, 23), (5, 9), (8, 16)]
    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    seeded_fit(alone, same_place(sizes, weights), batch_size=None)
    assert_same_state(together, alone, tolerance=0)


@pytest.mark.parametrize("odd", [(X[:16].astype(complex), Y[:16]), (X[:16, 1:], Y[:16])])
def test_what_is_odd_in_the_midst_is_told_of_in_its_place(odd, calls):
    def mixed():
        yield from ((X[:16], Y[:16]), (X[:16], Y[:16]), odd)

    model = compiled(convnet(models.Sequential))
    with pytest.raises(ValueError, match="batch 2"):
        model.fit(mixed(), steps_per_epoch=3, verbose=0)
    assert [len(given.order) for given in calls] == [32]


@contextmanager
def handled_by(handler):
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def alarmed_at(*steps):
    """Batches for ever; a signal comes before some of them."""
    for step, batch in enumerate(batches()):
        if step in steps:
            signal.raise_signal(signal.SIGUSR1)
        yield batch


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_what_a_handler_assigns_while_a_stream_is_trained_stays(monkeypatch):
    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    model = compiled(convnet(models.Sequential))
    model.optimizer.learning_rate = 0.0

    def zero(*_):
        model.set_weights([np.zeros_like(one) for one in model.get_weights()])

    with handled_by(zero):
        model.fit(alarmed_at(4, 7), steps_per_epoch=9, verbose=0)
    assert not any(one.any() for one in model.get_weights())


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_a_handler_may_train_on_a_stream_while_one_is_trained(monkeypatch):
    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    model = compiled(convnet(models.Sequential))

    def train(*_):
        model.fit(batches(), steps_per_epoch=2, verbose=0)

    with handled_by(train):
        model.fit(alarmed_at(3), steps_per_epoch=5, verbose=0)
    assert model.optimizer.iterations.numpy() == 7


def test_where_no_thread_can_be_had_each_step_is_done_once(monkeypatch):
    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    start, failures = threading.Thread.start, iter([True, False, True])

    def scarce(self):
        if self.name == "convmill fit" and next(failures, False):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    model, plain = compiled(convnet(models.Sequential)), compiled(convnet(models.Sequential))
    seeded_fit(model, batches(), steps_per_epoch=6, batch_size=None)
    assert next(failures, None) is None
    monkeypatch.undo()
    seeded_fit(plain, batches(), steps_per_epoch=6, batch_size=None)
    assert_same_state(model, plain, tolerance=0)


def test_progress_is_shown_however_slowly_a_stream_is_read(monkeypatch):
    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    shown = []

    class Shown(progress.Progress):
        def wants_update(self):
            return True

        def update(self, images, figures):
            shown.append(images)

    monkeypatch.setattr(progress, "_choose", lambda *_: Shown())
    model = compiled(convnet(models.Sequential))
    model.fit(batches(), steps_per_epoch=3, verbose=1)
    assert {16, 32, 48} <= set(shown)


def test_rates_are_those_of_when_a_batch_was_read(monkeypatch):
    monkeypatch.setattr(gather, "LONG_SECONDS", -1)
    rates = [0.1, 0.0, 0.2]
    streamed, alone = compiled(convnet(models.Sequential)), compiled(convnet(models.Sequential))

    class Setting(Rows):
        def __getitem__(self, index):
            streamed.optimizer.learning_rate = rates[index]
            return super().__getitem__(index)

    keras.utils.set_random_seed(1)
    streamed.fit(Setting(), shuffle=False, verbose=0)
    keras.utils.set_random_seed(1)
    for (x, y), rate in zip(batches(), rates, strict=False):
        alone.optimizer.learning_rate = rate
        alone.train_on_batch(x, y)
    assert_same_state(streamed, alone, tolerance=0)
