"""Data that make no sense give one clear error, and leave the model as it was."""

import keras
import numpy as np
import pytest

from convmill import models
from convmill.finite import check_finite
from tests.train.nets import (
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    images,
    seeded_fit,
)

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images(20)
LABELS = Y.argmax(axis=1)
SPARSE = "sparse_categorical_crossentropy"


def with_value(array, place, value):
    """A copy with one number changed."""
    changed = array.astype("float64")
    changed[place] = value
    return changed


BAD = {
    # name: (x, y, loss, what the message says)
    "class_too_large": (X, with_value(LABELS, 7, 3), SPARSE, r"0 to 2, .*Received: y\[7\] = 3"),
    "class_negative": (X, with_value(LABELS, 2, -1), SPARSE, r"Received: y\[2\] = -1"),
    "class_fraction": (X, with_value(LABELS, 5, 1.5), SPARSE, r"Received: y\[5\] = 1\.5"),
    "class_nan": (X, with_value(LABELS, 4, np.nan), SPARSE, r"Received: y\[4\] = nan"),
    "class_infinite": (X, with_value(LABELS, 4, np.inf), SPARSE, r"Received: y\[4\] = inf"),
    "class_integers": (X, LABELS + 1, SPARSE, r"Received: y\[\d+\] = 3"),
    "nan": (with_value(X, (3, 1, 2, 0), np.nan), Y, None, r"x\[3, 1, 2, 0\] = nan"),
    "infinity": (with_value(X, (19, 5, 5, 0), -np.inf), Y, None, r"x\[19, 5, 5, 0\] = -inf"),
    "past_float32": (with_value(X, (1, 0, 0, 0), 1e39), Y, None, r"x\[1, 0, 0, 0\] = 1e\+39"),
    "other_size": (np.zeros((20, 7, 7, 1)), Y, None, r"\(n, 6, 6, 1\).* \(20, 7, 7, 1\)"),
    "wrong_rank": (np.zeros((20, 36)), Y, None, r"\(n, 6, 6, 1\).*\(20, 36\)"),
    "channels": (np.zeros((20, 6, 6, 3)), Y, None, r"\(20, 6, 6, 3\)"),
    "complex": (X.astype("complex64"), Y, None, "complex numbers.*complex64"),
    "objects": (X.astype(object), Y, None, "not objects"),
    "text": (X.astype(str), Y, None, "not text"),
    "empty": (X[:0], Y[:0], None, r"at least one.*\(0, 6, 6, 1\)"),
    "no_x": (None, Y, None, "x=None"),
    "no_y": (X, None, None, "y=None"),
    "one_hot_for_sparse": (X, Y, SPARSE, r"fits the loss categorical_crossentropy.*\(20, 3\)"),
    "sparse_for_one_hot": (X, LABELS, None, r"fits the loss sparse_categorical.*\(20,\)"),
    "other_outputs": (X, np.zeros((20, 4)), None, r"\(n, 3\).*\(20, 4\)"),
    "lengths": (X, Y[:19], None, "x of length 20, y of length 19"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_give_one_clear_error(name):
    x, y, loss, message = BAD[name]
    model = compiled(convnet(models.Sequential), loss=loss or "categorical_crossentropy")
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as raised:
        model.fit(x, y, verbose=0)
    assert "Received: " in str(raised.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.optimizer.iterations.numpy() == 0


@pytest.mark.parametrize("method", ["evaluate", "train_on_batch", "test_on_batch"])
def test_the_other_methods_check_too(method):
    model = compiled(convnet(models.Sequential), loss=SPARSE)
    with pytest.raises(ValueError, match=r"y\[7\] = 3"):
        getattr(model, method)(X, with_value(LABELS, 7, 3))


def test_validation_data_are_checked_before_the_first_step():
    model = compiled(convnet(models.Sequential), loss=SPARSE)
    with pytest.raises(ValueError, match=r"y\[0\] = 9"):
        model.fit(X, LABELS, validation_data=(X, np.full(20, 9)), verbose=0)
    assert model.optimizer.iterations.numpy() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sample_weights_must_be_finite(value):
    model = compiled(convnet(models.Sequential))
    with pytest.raises(ValueError, match=rf"sample_weight\[3\] = {value}"):
        model.fit(X, Y, sample_weight=with_value(np.ones(20), 3, value), verbose=0)


CLASS_WEIGHTS = {
    # name: (class_weight, what becomes of y, the loss)
    "left_out": ({0: 2.0}, lambda y: y, None),
    "all_left_out": ({}, lambda y: y, None),
    "not_in_y": ({0: 2.0, 7: 9.0, -1: 3.0}, lambda y: y, None),
    "zero": ({0: 0, 1: 3}, lambda y: y, None),
    "labels": ({2: 0.25}, lambda y: y.argmax(axis=1), SPARSE),
    "column": ({2: 0.25}, lambda y: y.argmax(axis=1)[:, None], SPARSE),
    "floats": ({2: 0.25}, lambda y: y.argmax(axis=1).astype("float64"), SPARSE),
    "float_keys": ({2.0: 0.25}, lambda y: y.argmax(axis=1).astype("uint8"), SPARSE),
    "soft": ({1: 5.0}, lambda y: 0.8 * y + 0.1, None),
}


@pytest.mark.parametrize("name", CLASS_WEIGHTS)
def test_class_weights_mean_what_they_mean_in_keras(name):
    """A class that is left out counts 1."""
    class_weight, change, loss = CLASS_WEIGHTS[name]
    theirs, ours = (
        compiled(
            convnet(kind),
            loss=loss or "categorical_crossentropy",
            weighted_metrics=["accuracy"],
        )
        for kind in (keras.Sequential, models.Sequential)
    )
    y = change(Y)
    expected = seeded_fit(theirs, X, y, class_weight=class_weight)
    assert_same_history(seeded_fit(ours, X, y, class_weight=class_weight), expected)
    assert_same_state(ours, theirs)
    expected = theirs.train_on_batch(X, y, class_weight=class_weight)
    np.testing.assert_allclose(
        ours.train_on_batch(X, y, class_weight=class_weight), expected, atol=2e-5
    )


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ([1.0, 2.0, 3.0], r"must be a dict .*class_weight=\[1\.0, 2\.0, 3\.0\]"),
        ("balanced", "must be a dict .*class_weight='balanced'"),
        ({1: float("nan")}, r"finite .*class_weight\[1\] = nan"),
        ({1: float("inf")}, r"finite .*class_weight\[1\] = inf"),
        ({1: None}, r"finite .*class_weight\[1\] = None"),
    ],
)
def test_class_weights_that_cannot_be(class_weight, message):
    model = compiled(convnet(models.Sequential))
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, class_weight=class_weight, verbose=0)
    assert model.optimizer.iterations.numpy() == 0


def test_class_weights_of_other_keys_are_passed_over_with_a_warning():
    theirs, ours = (compiled(convnet(kind)) for kind in (keras.Sequential, models.Sequential))
    weights = {"1": 5.0, 0.5: 3.0, None: 2.0, 2: 4.0}
    expected = seeded_fit(theirs, X, Y, class_weight=weights)
    with pytest.warns(UserWarning, match=r"Received: class_weight with the key '1', 0\.5, None$"):
        found = seeded_fit(ours, X, Y, class_weight=weights)
    assert_same_history(found, expected)


def test_class_and_sample_weights_exclude_each_other():
    model = compiled(convnet(models.Sequential))
    weights = {0: 1.0, 1: 1.0, 2: 1.0}
    with pytest.raises(ValueError, match="cannot both be given"):
        model.fit(X, Y, class_weight=weights, sample_weight=np.ones(20), verbose=0)


def test_labels_may_come_as_lists_floats_and_columns():
    model = compiled(convnet(models.Sequential), loss=SPARSE)
    expected = model.test_on_batch(X, LABELS)
    for same in (LABELS.tolist(), LABELS.astype("float64"), LABELS[:, None], LABELS.astype("u1")):
        assert model.test_on_batch(X, same) == expected


def test_one_image_is_enough():
    model = compiled(convnet(models.Sequential))
    assert model.fit(X[:1], Y[:1], verbose=0).epoch == [0]
    assert model.predict(X[:1], verbose=0).shape == (1, 3)


@pytest.mark.parametrize("count", [1, 5, 3000])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_place_is_looked_at(count, dtype):
    """The check for finite numbers works in pieces: the first and the last number count too."""
    array = np.zeros((count, 40), dtype)
    check_finite(array, "x")
    for place in ((0, 0), (count - 1, 39), (count // 2, 7)):
        spoilt = array.copy()
        spoilt[place] = np.nan
        with pytest.raises(ValueError, match=rf"x\[{place[0]}, {place[1]}\] = nan"):
            check_finite(spoilt, "x")
        with pytest.raises(ValueError, match=rf"x\[{place[0]}, {place[1]}\] = nan"):
            check_finite(spoilt[:, ::-1][:, ::-1], "x")


def test_large_numbers_are_no_infinity():
    check_finite(np.full((100, 100), 3e38, "float32"), "x")
    check_finite(np.full((100, 100), -3e38, "float64"), "x")


def test_predict_takes_what_it_is_given():
    """No weights are at stake: a NaN in is a NaN out, as in Keras."""
    model = convnet(models.Sequential)
    found = model.predict(with_value(X, (3, 1, 2, 0), np.nan), verbose=0)
    assert np.isnan(found[3]).all()
    assert np.isfinite(np.delete(found, 3, axis=0)).all()
    np.testing.assert_allclose(
        found[:3], convnet(keras.Sequential).predict(X[:3], verbose=0), atol=2e-5
    )


# What changes while ``fit`` runs -----------------------------------------------------------------


def flattened(array):
    array.shape = (-1,)


def of_bytes(array):
    array.dtype = "u1"


def changing(change, array, hook):
    """A callback that does something to an array, once."""
    callback, done = keras.callbacks.Callback(), []

    def act(*_, **__):
        if not done:
            done.append(None)
            change(array)

    setattr(callback, hook, act)
    return callback


HOOKS = ("on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize("change", [flattened, of_bytes])
@pytest.mark.filterwarnings("ignore:Setting the :DeprecationWarning")
def test_shape_and_dtype_of_an_array_stay_those_that_were_given(change, which, hook):
    runs = []
    for changed in (False, True):
        data = {"x": X.copy(), "y": LABELS.copy()}
        callback = changing(change if changed else len, data[which], hook)
        model = compiled(convnet(models.Sequential), loss=SPARSE)
        history = seeded_fit(model, data["x"], data["y"], callbacks=[callback], epochs=2)
        runs.append((history.history, model.get_weights()))
    assert runs[0][0] == runs[1][0]
    for one, other in zip(runs[0][1], runs[1][1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("which", ["x", "y", "sample_weight"])
def test_an_array_cannot_be_resized_while_it_is_read(which, hook):
    """NumPy, asked not to look who refers to it, would take the memory away."""
    data = {"x": X.copy(), "y": LABELS.copy(), "sample_weight": np.ones(20)}
    array = data[which]

    def resize(array):
        array.resize((2, *array.shape[1:]), refcheck=False)

    model = compiled(convnet(models.Sequential), loss=SPARSE)
    with pytest.raises(ValueError, match="cannot resize an array"):
        model.fit(**data, verbose=0, epochs=2, callbacks=[changing(resize, array, hook)])
    data[which] = array[:]  # a view of it, as well
    with pytest.raises(ValueError, match="cannot resize an array"):
        model.fit(**data, verbose=0, epochs=2, callbacks=[changing(resize, array, hook)])
    del data
    resize(array)
    assert len(array) == 2


@pytest.mark.parametrize("steps", [0, -1, 1.5, "2", True])
def test_steps_per_execution_are_a_whole_number(steps):
    model = compiled(convnet(models.Sequential))
    model.steps_per_execution = steps
    for call in (lambda: model.fit(X, Y, verbose=0), lambda: model.train_on_batch(X, Y)):
        with pytest.raises(ValueError, match=r"steps_per_execution must be a whole number of at"):
            call()
