"""What is not covered: Keras' own path and one line, or an error where the model is strict."""

import pickle
import random

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models
from convmill.lower import spec
from convmill.runtime import jit
from tests.train.nets import (
    SHAPE,
    Unknown,
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    images,
    seeded_fit,
)

X, Y = images(32)


def with_unknown(kind):
    """A net with a layer that the compiler does not know."""
    keras.utils.set_random_seed(3)
    stack = [
        keras.Input(SHAPE),
        layers.Flatten(),
        Unknown(name="unknown"),
        layers.Dense(3, activation="softmax"),
    ]
    return kind(stack)


def test_one_line_says_what_and_what_to_do(capsys):
    model = compiled(with_unknown(models.Sequential))
    for _ in range(2):
        seeded_fit(model, X, Y)
    model.evaluate(X, Y, verbose=0)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("convmill: sequential")
    assert "'unknown/sort' (Sort)" in err
    assert "To have it compiled: " in err


def test_another_model_and_another_reason_are_told_again(capsys):
    for _ in range(2):
        seeded_fit(compiled(with_unknown(models.Sequential)), X, Y)
    model = compiled(convnet(models.Sequential), run_eagerly=True)
    seeded_fit(model, X, Y)
    compiled(model)
    model.train_step = model.train_step
    seeded_fit(model, X, Y)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "run_eagerly" in lines[2]
    assert "train_step" in lines[3]


def test_keras_path_gives_what_keras_gives():
    theirs, ours = (compiled(with_unknown(kind)) for kind in (keras.Sequential, models.Sequential))
    arguments = {"validation_data": (X, Y), "epochs": 2}
    assert_same_history(
        seeded_fit(ours, X, Y, **arguments), seeded_fit(theirs, X, Y, **arguments), tolerance=0
    )
    assert_same_state(ours, theirs, tolerance=0)
    assert ours.evaluate(X, Y, verbose=0) == theirs.evaluate(X, Y, verbose=0)


def test_even_what_we_refuse_is_left_to_keras_there():
    """Not covered behaves as if convmill were not there: no check of ours stands in the way."""
    model = compiled(with_unknown(models.Sequential))
    assert model.fit(X, Y, epochs=0, verbose=0).history == {}


def test_what_is_in_the_way_of_prediction_too_is_told_first(capsys):
    class Watching(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.mean = keras.metrics.Mean()

        def call(self, inputs):
            return keras.ops.cumsum(inputs, 1)

    stack = [keras.Input(SHAPE), layers.Flatten(), layers.Dense(3), Watching()]
    model = compiled(models.Sequential(stack), loss="mse")
    seeded_fit(model, X, Y)
    model.predict(X, verbose=0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "(Cumsum)" in lines[0]


def test_the_error_of_a_strict_model_says_what_the_line_says(capsys):
    loose, strict = (compiled(with_unknown(models.Sequential)) for _ in range(2))
    loose.predict(X, verbose=0)
    line = capsys.readouterr().err.strip()
    convmill.accelerate(strict, strict=True)
    with pytest.raises(convmill.NotCovered) as raised:
        strict.predict(X, verbose=0)
    assert raised.value.remedy
    assert str(raised.value).endswith(f". To have it compiled: {raised.value.remedy}")
    assert line.endswith(f"Not covered: {raised.value}.")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.reason, again.remedy) == (raised.value.reason, raised.value.remedy)


@pytest.mark.parametrize("how", ["environment", "argument"])
def test_strict_makes_it_an_error(how, monkeypatch, capsys):
    model = compiled(with_unknown(keras.Sequential))
    if how == "environment":
        monkeypatch.setenv("CONVMILL_STRICT", "1")
    convmill.accelerate(model, strict=True if how == "argument" else None)
    with pytest.raises(convmill.NotCovered) as raised:
        model.fit(X, Y, verbose=0)
    assert "(Sort)" in raised.value.reason
    assert raised.value.remedy
    assert capsys.readouterr().err == ""


def test_an_argument_overrules_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("CONVMILL_STRICT", "1")
    model = convmill.accelerate(compiled(with_unknown(keras.Sequential)), strict=False)
    model.predict(X, verbose=0)
    assert "(Sort)" in capsys.readouterr().err


def test_a_switch_that_is_neither_on_nor_off(monkeypatch):
    monkeypatch.setenv("CONVMILL_STRICT", "perhaps")
    with pytest.raises(ValueError, match=r"CONVMILL_STRICT must be 0 or 1\. Received: .*'perhaps'"):
        compiled(with_unknown(models.Sequential)).fit(X, Y, verbose=0)


class OwnStep(keras.Sequential):
    """Its training step is its own affair."""

    def train_step(self, *args, **kwargs):
        return super().train_step(*args, **kwargs)


class OwnLoss(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(keras.ops.square(y - y_pred))


def plain_net(kind):
    keras.utils.set_random_seed(3)
    return kind([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: compiled(plain_net(OwnStep), loss="mse"), "OwnStep defines its own train_step"),
        (lambda: compiled(plain_net(OwnLoss), loss="mse"), "OwnLoss defines its own compute_loss"),
        (lambda: compiled(convnet(), run_eagerly=True), "run_eagerly=True"),
    ],
    ids=["train_step", "compute_loss", "eager"],
)
def test_reasons(make, reason, capsys):
    model = convmill.accelerate(make())
    assert seeded_fit(model, X, Y).epoch == [0]
    assert reason in capsys.readouterr().err


def test_a_step_of_its_own_does_not_keep_predict_from_running_compiled(capsys):
    model = convmill.accelerate(plain_net(OwnStep), strict=True)
    model.predict(X, verbose=0)
    assert capsys.readouterr().err == ""


def test_a_model_that_is_not_compiled_is_told_so_by_keras():
    model = convnet(models.Sequential)
    with pytest.raises(ValueError, match=r"You must call `compile\(\)`"):
        model.fit(X, Y)


def test_a_wrong_argument_is_keras_to_name():
    model = compiled(convnet(models.Sequential))
    with pytest.raises(TypeError, match="colour"):
        model.fit(X, Y, colour="red")


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed, but will be ignored")
def test_no_batch_of_a_generator_is_lost_to_keras(built):
    """Where the model had to be built to see that it is not covered, a batch was looked at."""

    def batches():
        for start in (0, 8, 16, 24):
            yield X[start : start + 8], Y[start : start + 8]

    def build(kind):
        keras.utils.set_random_seed(3)
        stack = [layers.Flatten(), Unknown(), layers.Dense(3)]
        return compiled(kind([keras.Input(SHAPE), *stack] if built else stack), loss="mse")

    theirs, ours = build(keras.Sequential), build(models.Sequential)
    arguments = {"steps_per_epoch": 4, "batch_size": None}
    expected = seeded_fit(theirs, batches(), **arguments)
    assert_same_history(seeded_fit(ours, batches(), **arguments), expected, tolerance=0)
    assert_same_state(ours, theirs, tolerance=0)


def test_a_dataset_that_was_looked_at_is_still_good_for_keras(capsys):
    """A target that only Keras can spread over the outputs shows in the first batch."""

    class Rows(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            part = slice(index * 16, index * 16 + 16)
            return X[part], Y[part, :1]

    theirs, ours = (
        compiled(plain_net(kind), loss="mse") for kind in (keras.Sequential, models.Sequential)
    )
    arguments = {"batch_size": None, "shuffle": False}
    for _ in range(2):
        expected = seeded_fit(theirs, Rows(), **arguments)
        assert_same_history(seeded_fit(ours, Rows(), **arguments), expected, tolerance=0)
    assert "y of shape (16, 1)" in capsys.readouterr().err


class Mixed(keras.utils.PyDataset):
    """Batches of which some have a target that only Keras can spread over the outputs."""

    def __init__(self, narrow, **kwargs):
        super().__init__(**kwargs)
        self.narrow, self.asked = narrow, []

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.asked.append(index)
        part = slice(index * 8, index * 8 + 8)
        return X[part], Y[part, :1] if index in self.narrow else Y[part]


@pytest.mark.parametrize("hears_batches", [False, True], ids=["quiet", "hooked"])
@pytest.mark.parametrize("narrow", [(0,), (2,), (0, 3), (1, 2), (0, 1, 2, 3)])
def test_keras_makes_the_steps_that_are_not_covered(narrow, hears_batches, capsys):
    """In the midst of an epoch, and counted in its logs; a first fit and a later one."""

    def build(kind):
        model = compiled(
            plain_net(kind),
            loss="mse",
            metrics=["mae", keras.metrics.BinaryAccuracy()],
            weighted_metrics=["mse"],
        )
        return model

    models_, heard = [build(keras.Sequential), build(models.Sequential)], [[], []]
    histories = [[], []]
    for model, found, logged in zip(models_, histories, heard, strict=True):
        hooks = {"on_train_batch_end": lambda batch, logs, logged=logged: logged.append(logs)}
        callbacks = [keras.callbacks.LambdaCallback(**hooks)] if hears_batches else []
        for _ in range(2):
            data = Mixed(narrow)
            history = seeded_fit(
                model,
                data,
                batch_size=None,
                shuffle=False,
                epochs=2,
                callbacks=callbacks,
                validation_data=Mixed(narrow),
            )
            found.append((history, data.asked))
    for (theirs, asked), (ours, ours_asked) in zip(*histories, strict=True):
        assert_same_history(ours, theirs)
        assert ours_asked == asked
    assert_same_state(*reversed(models_))
    for mine, other in zip(heard[1], heard[0], strict=True):
        assert mine == pytest.approx(other, abs=2e-5)
    expected, found = (model.evaluate(Mixed(narrow), verbose=0) for model in models_)
    assert found == pytest.approx(expected, abs=2e-5)
    assert capsys.readouterr().err.count("y of shape (8, 1)") == 1


def test_keras_predicts_what_is_not_covered(capsys):
    sparse = pytest.importorskip("scipy.sparse")

    def batches():
        for start in (0, 8, 16):
            x = X[start : start + 8].reshape(8, 36)
            yield (sparse.csr_matrix(x) if start == 8 else x,)

    theirs, ours = (
        kind([keras.Input((36,)), layers.Dense(3, kernel_initializer="ones")])
        for kind in (keras.Sequential, models.Sequential)
    )
    expected = theirs.predict(X[:24].reshape(24, 36), verbose=0)
    np.testing.assert_allclose(ours.predict(batches(), steps=3, verbose=0), expected, atol=1e-5)
    assert "x of type BCOO" in capsys.readouterr().err


def test_a_step_that_is_not_covered_is_an_error_where_the_model_is_strict():
    """What was trained before it stays."""
    model = convmill.accelerate(compiled(plain_net(keras.Sequential), loss="mse"), strict=True)
    with pytest.raises(convmill.NotCovered, match=r"y of shape \(8, 1\)"):
        seeded_fit(model, Mixed((2,)), batch_size=None, shuffle=False)
    assert model.optimizer.iterations.numpy() == 2


def test_random_numbers_are_drawn_as_without_us():
    """After a fallback, NumPy's and Python's generators stand where plain Keras leaves them."""
    states = []
    for kind in (keras.Sequential, models.Sequential):
        keras.utils.set_random_seed(3)
        stack = [layers.Flatten(), Unknown(), layers.Dense(3)]
        seeded_fit(compiled(kind(stack), loss="mse"), X, Y)
        states.append((np.random.random(), random.random()))
    assert states[0] == states[1]


def test_sparse_matrices_are_left_to_keras(capsys):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    keras.utils.set_random_seed(3)
    model = models.Sequential([keras.Input((36,)), layers.Dense(3, activation="softmax")])
    compiled(model)
    seeded_fit(model, scipy_sparse.csr_matrix(X.reshape(32, 36)), Y)
    assert "x of type csr_matrix" in capsys.readouterr().err


CALLS = {
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "fit with validation": lambda model, x, y: model.fit(x, y, validation_data=(x, y), verbose=0),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "predict": lambda model, x, y: model.predict(x, verbose=0),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y),
    "predict_on_batch": lambda model, x, y: model.predict_on_batch(x),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_llvm_refuses_is_found_out_before_the_run(name, monkeypatch, capsys):
    built = jit.build_program

    def broken(*arguments, **options):
        training = arguments[-1]
        kind = "training" if training else "inference"
        wrong = "inference" if name == "fit with validation" else kind
        module = built(*arguments, **options)
        if kind == wrong:
            next(iter(module.globals.values())).blocks[0].lines.insert(0, "no LLVM IR")
        return module

    monkeypatch.setattr(jit, "build_program", broken)
    jit.forget()
    model = compiled(convnet(models.Sequential))
    try:
        CALLS[name](model, X, Y)  # Keras runs it
    finally:
        jit.forget()
    said = capsys.readouterr().err
    assert said.count("LLVM refuses the code for it") == 1
    assert said.count("runs on Keras' own path") == 1


@pytest.mark.parametrize("check", ["check_choices", "check_step", "check_memory"])
@pytest.mark.parametrize("name", ["fit", "predict"])
def test_what_our_own_checks_refuse_runs_on_keras(name, check, monkeypatch, capsys):
    def refuse(*_):
        raise spec.SpecError("a fault")

    monkeypatch.setattr(spec, check, refuse)
    jit.forget()
    CALLS[name](compiled(convnet(models.Sequential)), X, Y)
    said = capsys.readouterr().err
    assert said.count("our passes disagree about it (a fault)") == 1
    assert said.count("runs on Keras' own path") == 1


class Unfit(keras.losses.Loss):
    """Fails while Keras traces the first step."""

    def call(self, y_true, y_pred):
        return keras.ops.reshape(y_pred, (7, -1))


def test_what_fails_on_keras_path_leaves_the_model_as_it_was(capsys):
    """Keras on JAX itself would leave it without weights."""
    model = compiled(with_unknown(models.Sequential), optimizer="adam")
    model.fit(X, Y, verbose=0)
    before = [one.numpy() for one in [*model.variables, *model.optimizer.variables]]
    adam = model.optimizer
    model.compile(adam, Unfit())
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        with pytest.raises((TypeError, ValueError)):
            getattr(model, method)(X, Y)
    with pytest.raises((TypeError, ValueError)):
        model.predict(X[:, :1], verbose=0)
    for value, one in zip(before, [*model.variables, *adam.variables], strict=True):
        np.testing.assert_array_equal(one.numpy(), value)


def test_a_callback_that_fails_on_keras_path_loses_nothing(capsys):
    def fail(batch, logs):
        if batch == 2:
            raise RuntimeError("enough")

    model = compiled(with_unknown(models.Sequential))
    before = [one.numpy() for one in model.variables]
    for method, hook in (("evaluate", "on_test_batch_end"), ("predict", "on_predict_batch_end")):
        data = (X, Y) if method == "evaluate" else (X,)
        callback = keras.callbacks.LambdaCallback()
        setattr(callback, hook, fail)
        with pytest.raises(RuntimeError, match="enough"):
            getattr(model, method)(*data, batch_size=4, verbose=0, callbacks=[callback])
    for value, one in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), value)


@pytest.mark.parametrize(
    "y", [{1, 2}, {"y": Y}, {0: Y}, [Y, Y], object(), len, [[1.0], [1.0, 2.0]], "labels"]
)
@pytest.mark.parametrize("method", ["train_on_batch", "fit", "evaluate", "test_on_batch"])
def test_what_nobody_can_take_is_one_error_in_our_words(method, y, capsys):
    model = compiled(convnet(models.Sequential))
    before = model.get_weights()
    with pytest.raises(ValueError, match="Received: ") as raised:
        getattr(model, method)(X, y)
    assert "at 0x" not in str(raised.value)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_callback_raises_on_keras_path_stays_as_it_is(capsys):
    def fail(epoch, logs):
        raise ValueError("mine")

    model = compiled(convnet(models.Sequential), loss="mse")
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=fail)
    with pytest.raises(ValueError, match=r"^mine$"):
        model.fit(X, np.ones((len(X), 1)), callbacks=[callback], verbose=0)


class Failing(keras.callbacks.Callback):
    """A callback that fails in a library's code."""

    def on_epoch_end(self, epoch, logs=None):
        np.linalg.inv(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("callback", "error"),
    [
        (Failing(), np.linalg.LinAlgError),
        (keras.callbacks.ModelCheckpoint("/dev/null/x.keras"), OSError),
    ],
)
def test_what_a_callback_raises_is_not_laid_to_the_data(callback, error):
    """Keras trains on targets that it spreads over the outputs; the compiler does not."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    convmill.accelerate(model)
    x, y = np.zeros((8, 3), np.float32), np.zeros((8, 1), np.float32)
    with pytest.raises(error) as found:
        model.fit(x, y, epochs=1, verbose=0, callbacks=[callback])
    assert "neither" not in str(found.value)


def test_what_fails_on_keras_path_brings_no_weights_of_an_earlier_run_back(capsys):
    """Keras on JAX keeps what its last step has left, and the weights may have been set since."""
    model = compiled(with_unknown(models.Sequential), optimizer="adam")
    model.train_on_batch(X, Y)
    chosen = [np.full_like(one, 0.5) for one in model.get_weights()]
    model.set_weights(chosen)
    for method, data in (("train_on_batch", (X[:, :1], Y)), ("predict_on_batch", (X[:, :1],))):
        with pytest.raises((TypeError, ValueError)):
            getattr(model, method)(*data)
        assert all(map(np.array_equal, model.get_weights(), chosen))
    before = model.train_on_batch(X, Y)
    assert model.train_on_batch(X, Y) != before


def test_keras_is_given_arrays_that_jax_does_not_misread():
    """A step that JAX has compiled takes the bytes of others as they are, and cuts to 32 bits."""
    model = compiled(with_unknown(models.Sequential))
    expected = model.predict_on_batch(X)
    assert np.ptp(expected) > 0
    np.testing.assert_array_equal(model.predict_on_batch(X.astype(">f4")), expected)
    foreign = [one.astype(">f4") for one in (X, Y)]
    assert model.test_on_batch(*foreign) == model.test_on_batch(X, Y)
    checked = model.fit(*foreign, validation_data=tuple(foreign), verbose=0).history
    assert np.isfinite(checked["val_loss"]).all()
    far = np.where(Y == 1, 2**40, 0)
    found = model.test_on_batch(X, far)
    assert found == pytest.approx(model.test_on_batch(X, far.astype("float32")))
