"""Keras' metrics, and those of one's own, fed with what a compiled net predicts."""

import keras
import numpy as np
import pytest
from keras import layers, metrics, ops

import convmill
from convmill import models
from convmill.train.attach.compiled import Compiled
from convmill.train.fed import Fed
from tests.train.nets import (
    SHAPE,
    assert_same_history,
    compiled,
    convnet,
    images,
    seeded_fit,
)

X, Y = images(40)
INDICES = np.argmax(Y, axis=1)
WEIGHTS = np.random.default_rng(2).random(40).astype("float32")

pytestmark = pytest.mark.long  # breadth: test_bridge, test_fit and test_optimizers have one of each


def share_of_first(y_true, y_pred):
    """A function of one's own: a number for each image."""
    return ops.mean(ops.abs(y_true - y_pred), axis=-1) / (1 + y_pred[:, 0])


class Largest(metrics.Metric):
    """A metric of one's own: the largest of all predictions."""

    def __init__(self, name="largest"):
        super().__init__(name=name)
        self.value = self.add_variable((), "zeros", name="value")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.value.assign(ops.maximum(self.value, ops.max(y_pred)))

    def result(self):
        return ops.convert_to_tensor(self.value)


ONE_HOT = {
    "precision and recall": lambda: [metrics.Precision(), metrics.Recall(class_id=1)],
    "areas": lambda: [metrics.AUC(num_thresholds=20), metrics.AUC(multi_label=True, name="each")],
    "at": lambda: [metrics.PrecisionAtRecall(0.5), metrics.SensitivityAtSpecificity(0.3)],
    "counts": lambda: [metrics.TruePositives(), metrics.FalseNegatives(thresholds=[0.3, 0.4])],
    "top": lambda: [metrics.TopKCategoricalAccuracy(2), "top_k_categorical_accuracy"],
    "f scores": lambda: [metrics.F1Score("macro"), metrics.FBetaScore("micro", beta=0.5)],
    "overlap": lambda: [metrics.OneHotIoU(3, [0, 2]), metrics.OneHotMeanIoU(3)],
    "losses": lambda: ["mse", "kl_divergence", metrics.CategoricalHinge(), "cosine_similarity"],
    "accuracies": lambda: ["accuracy", metrics.BinaryAccuracy(threshold=0.4), "binary_accuracy"],
    "regression": lambda: [metrics.R2Score(), metrics.RootMeanSquaredError()],
    "own": lambda: [share_of_first, Largest()],
}
SPARSE = {
    "top": lambda: [metrics.SparseTopKCategoricalAccuracy(2)],
    "overlap": lambda: [metrics.MeanIoU(3, sparse_y_pred=False)],
    "losses": lambda: ["sparse_categorical_crossentropy", "accuracy"],
}


def assert_alike(make, y, loss, jit=False, **arguments):
    """Two epochs with validation, and an evaluation; nothing of it runs in Keras."""
    models_ = []
    for kind in (models.Sequential, keras.Sequential):
        keras.utils.clear_session()  # names begin anew
        options = {name: found() for name, found in make.items()}
        options = {"metrics": None, "jit_compile": jit} | options
        models_.append(compiled(convnet(kind), loss=loss, **options))
    convmill.accelerate(models_[0], strict=True)
    arguments = {"epochs": 2, "validation_data": (X[:9], y[:9])} | arguments
    assert_same_history(*(seeded_fit(model, X, y, **arguments) for model in models_))
    found, expected = (
        model.evaluate(X, y, batch_size=16, verbose=0, return_dict=True) for model in models_
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=2e-5, err_msg=name)


# Keras' own, for indices of places, in both of them.
KERAS_WARNS = pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")


@KERAS_WARNS
@pytest.mark.parametrize("name", ONE_HOT)
def test_metrics_of_one_hot_labels(name):
    assert_alike({"metrics": ONE_HOT[name]}, Y, "categorical_crossentropy")


@pytest.mark.parametrize("name", ["areas", "f scores", "own"])
def test_metrics_that_jax_compiles(name):
    """In several fits with one tracing."""
    makes = {"metrics": ONE_HOT[name], "weighted_metrics": ONE_HOT["top"]}
    assert_alike(makes, Y, "categorical_crossentropy", jit=True, sample_weight=WEIGHTS)


@KERAS_WARNS
@pytest.mark.parametrize("name", SPARSE)
def test_metrics_of_class_indices(name):
    assert_alike({"metrics": SPARSE[name]}, INDICES, "sparse_categorical_crossentropy")


@pytest.mark.parametrize("name", ["precision and recall", "areas", "top", "f scores", "own"])
def test_weighted_metrics(name):
    """Beside the same ones without weights."""
    makes = {"weighted_metrics": ONE_HOT[name], "metrics": lambda: ["mae"]}
    assert_alike(makes, Y, "categorical_crossentropy", sample_weight=WEIGHTS)


def test_metrics_of_a_loss_that_is_bridged():
    makes = {"metrics": lambda: ["accuracy", metrics.AUC()]}
    assert_alike(makes, Y, keras.losses.Dice())


class InPython(metrics.Metric):
    """What nothing can trace."""

    total = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total += float(np.asarray(y_pred).sum())

    def result(self):
        return self.total


def test_what_cannot_be_traced_is_updated_as_it_is():
    metric, mean = InPython(), metrics.MeanSquaredError()
    fed = Fed([Compiled(metric, "", 0, False), Compiled(mean, "", 1, True)], jit=True)
    fed.update([((Y[:4],) * 2, (Y[:4] + 1,) * 2, (None, WEIGHTS[:4]))])
    fed.update([((Y[:2],) * 2, (Y[:2] + 1,) * 2, (None, None))])
    assert metric.total == pytest.approx(Y[:4].sum() + Y[:2].sum() + 18)
    assert float(mean.result()) == pytest.approx(1.0)


def noting(kind):
    """A model that keeps a metric which nobody updates."""

    class Noting(kind):
        def __init__(self, stack, name):
            super().__init__(name=name)
            self.mean = metrics.Mean("mine")
            for layer in stack:
                self.add(layer)

    return compiled(convnet(Noting))


def test_a_metric_of_the_model_that_keras_does_not_update():
    ours, theirs = noting(models.Sequential), noting(keras.Sequential)
    convmill.accelerate(ours, strict=True)
    ours.mean.update_state(3.0)
    theirs.mean.update_state(3.0)
    found, expected = (seeded_fit(model, X, Y) for model in (ours, theirs))
    assert "mine" in found.history
    assert_same_history(found, expected)
    assert ours.evaluate(X, Y, verbose=0) == pytest.approx(
        theirs.evaluate(X, Y, verbose=0), abs=2e-5
    )


class Watching(layers.Layer):
    """Its call updates a metric of its own."""

    def __init__(self):
        super().__init__()
        self.mean = metrics.Mean("seen")

    def call(self, inputs):
        self.mean.update_state(inputs)
        return inputs


def test_a_metric_that_a_layer_updates_is_left_to_keras():
    stack = [keras.Input(SHAPE), layers.Flatten(), layers.Dense(3), Watching()]
    model = convmill.accelerate(compiled(models.Sequential(stack), loss="mse"), strict=True)
    with pytest.raises(convmill.NotCovered, match="Watching"):
        model.fit(X, Y, verbose=0)


def test_metrics_that_fit_no_outputs_are_told_by_their_names():
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(2, name=name)(inputs) for name in ("a", "b")]
    model = models.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mse"], metrics=["mae"])
    with pytest.raises(
        ValueError, match=r"for each output, 'a', 'b'\. Received: .*'mae'"
    ) as raised:
        model.train_on_batch(np.ones((2, 3)), [np.ones((2, 2)), np.ones((2, 2))])
    assert "mark" not in str(raised.value)
    assert "0x" not in str(raised.value)


@pytest.mark.parametrize("dtype", ["int64", "uint64", ">i8", "int32"])
def test_metrics_see_whole_numbers_of_any_size(dtype):
    """JAX cuts what no int32 holds to 32 bits."""
    model = models.Sequential([keras.Input((2,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mean_absolute_error", metrics=["mse"])
    y = np.array([[0], [2**31 - 1 if dtype == "int32" else 2**40]], dtype)
    x = np.zeros((2, 2), "float32")
    distance = float(y.max())
    for found in (model.test_on_batch(x, y), model.evaluate(x, y, verbose=0)):
        np.testing.assert_allclose(found, [distance / 2, distance**2 / 2], rtol=1e-6)
