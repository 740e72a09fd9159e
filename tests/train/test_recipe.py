"""What ``compile`` said becomes a Recipe, or is refused by name."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from keras import losses, metrics, optimizers

from convmill.plan.read import read
from convmill.plan.recipe import Average, Clip, Goal, Leader, Loss, Optimizer, Recipe
from convmill.plan.refusals import NotCovered
from convmill.train.compilation.accuracy import accuracy_kind
from convmill.train.compilation.optimizer import mark_decay, route
from convmill.train.compilation.read_recipe import read_recipe
from tests.train.small import net


def recipe(
    optimizer: Any = "sgd",
    loss: Any = "categorical_crossentropy",
    metrics: Any = None,
    units: int = 3,
    **others: Any,
) -> Recipe:
    """The Recipe of a small net that was compiled with these."""
    model = net(units)
    model.compile(optimizer, loss, metrics=metrics, **others)
    return read_recipe(model, read(model))


# Losses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("categorical_crossentropy", Loss("categorical_crossentropy")),
        ("CategoricalCrossentropy", Loss("categorical_crossentropy")),
        (losses.categorical_crossentropy, Loss("categorical_crossentropy")),
        (losses.CategoricalCrossentropy(), Loss("categorical_crossentropy")),
        (
            losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction="sum"),
            Loss("categorical_crossentropy", True, 0.1, "sum"),
        ),
        ("sparse_categorical_crossentropy", Loss("sparse_categorical_crossentropy")),
        (
            losses.SparseCategoricalCrossentropy(from_logits=True),
            Loss("sparse_categorical_crossentropy", True),
        ),
        ("binary_crossentropy", Loss("binary_crossentropy")),
        ("bce", Loss("binary_crossentropy")),
        (
            losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2),
            Loss("binary_crossentropy", True, 0.2),
        ),
        ("mse", Loss("mean_squared_error")),
        ("mean_squared_error", Loss("mean_squared_error")),
        (losses.MeanSquaredError(reduction="mean"), Loss("mean_squared_error")),
        ("mae", Loss("mean_absolute_error")),
        (losses.MeanAbsoluteError(), Loss("mean_absolute_error")),
        (losses.MeanAbsoluteError, Loss("mean_absolute_error")),
        ("mape", Loss("mean_absolute_percentage_error")),
        ("MSLE", Loss("mean_squared_logarithmic_error")),
        ("huber", Loss("huber")),
        (losses.Huber(delta=0.5), Loss("huber", delta=0.5)),
        ("LogCosh", Loss("log_cosh")),
        (losses.Poisson(reduction="sum"), Loss("poisson", reduction="sum")),
        ("kld", Loss("kl_divergence")),
        (losses.CosineSimilarity(), Loss("cosine_similarity")),
        (losses.CosineSimilarity(axis=1), Loss("cosine_similarity")),
        ("hinge", Loss("hinge")),
        (losses.SquaredHinge(), Loss("squared_hinge")),
        ("categorical_hinge", Loss("categorical_hinge")),
        ("binary_focal_crossentropy", Loss("binary_focal_crossentropy")),
        (
            losses.BinaryFocalCrossentropy(True, alpha=0.3, gamma=3, from_logits=True),
            Loss("binary_focal_crossentropy", True, alpha=(0.3,), gamma=3.0, balanced=True),
        ),
        (
            losses.CategoricalFocalCrossentropy(alpha=[0.1, 0.2, 0.7], label_smoothing=0.1),
            Loss("categorical_focal_crossentropy", label_smoothing=0.1, alpha=(0.1, 0.2, 0.7)),
        ),
        (losses.CategoricalCrossentropy(axis=1), Loss("categorical_crossentropy")),
    ],
)
def test_losses(given: Any, expected: Loss) -> None:
    assert recipe(loss=given).loss == expected


def test_crossentropy_of_one_output_is_binary() -> None:
    assert recipe(loss="crossentropy", units=1).loss == Loss("binary_crossentropy")


def own_loss(y_true: Any, y_pred: Any) -> Any:
    return y_pred


class OwnLoss(losses.MeanSquaredError):
    pass


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["mse", "mae"], "several losses of one output"),
        (None, "without a loss"),
        (losses.MeanSquaredError(reduction="none"), "reduction='none'"),
        (losses.MeanSquaredError(reduction=None), "reduction=None"),
    ],
)
def test_losses_that_are_not_covered(given: Any, words: str) -> None:
    with pytest.raises(NotCovered, match=words) as refusal:
        recipe(loss=given)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    "given",
    [
        "dice",
        losses.Tversky(),
        losses.CategoricalFocalCrossentropy(alpha=[0.1, 0.2]),
        own_loss,
        OwnLoss(),
        "crossentropy",
        losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        losses.CategoricalCrossentropy(axis=0),
        losses.SparseCategoricalCrossentropy(ignore_class=0),
        losses.MeanSquaredError(dtype="float16"),
    ],
)
def test_losses_that_are_bridged(given: Any) -> None:
    assert recipe(loss=given, metrics=["accuracy"]).goals == (
        Goal(Loss("bridged", reduction="sum")),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convmill.train.compilation.loss.has_bridge", lambda: False)
        with pytest.raises(NotCovered, match="or Keras on JAX"):
            recipe(loss=given)


def test_a_loss_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="Received: loss='categorical_crossentropi'"):
        recipe(loss="categorical_crossentropi")


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, math.nan, math.inf])
def test_label_smoothing_outside_its_range(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\]. Received: label_smoothing="):
        recipe(loss=losses.CategoricalCrossentropy(label_smoothing=smoothing))


def test_class_indices_need_more_than_one_output() -> None:
    """What Keras makes of them is its affair."""
    assert recipe(loss="sparse_categorical_crossentropy", units=1).loss.bridged


def test_a_model_that_is_not_compiled() -> None:
    model = net()
    with pytest.raises(NotCovered, match="not compiled"):
        read_recipe(model, read(model))


def test_another_epsilon_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "epsilon", lambda: 1e-5)
    assert recipe().loss == Loss("categorical_crossentropy", epsilon=1e-5)
    assert recipe(loss=losses.MeanSquaredError()).loss == Loss("mean_squared_error", epsilon=1e-5)


# Accuracy ----------------------------------------------------------------------------------------


class Percent(metrics.CategoricalAccuracy):
    pass


ACCURACIES = [
    # metric, loss, units, the class that Keras resolves it to, what is counted natively
    ("accuracy", "categorical_crossentropy", 3, "CategoricalAccuracy", "categorical"),
    ("acc", "sparse_categorical_crossentropy", 3, "SparseCategoricalAccuracy", "sparse"),
    ("Accuracy", "binary_crossentropy", 1, "BinaryAccuracy", "binary"),
    ("accuracy", "binary_crossentropy", 3, "CategoricalAccuracy", "categorical"),
    ("accuracy", "mse", 1, "BinaryAccuracy", "binary"),
    ("accuracy", "mse", 3, "CategoricalAccuracy", "categorical"),
    ("categorical_accuracy", "categorical_crossentropy", 3, "CategoricalAccuracy", "categorical"),
    ("binary_accuracy", "categorical_crossentropy", 3, "BinaryAccuracy", "binary"),
    (metrics.binary_accuracy, "binary_crossentropy", 3, "MeanMetricWrapper", "binary"),
    (metrics.CategoricalAccuracy, "mse", 3, "CategoricalAccuracy", "categorical"),
    (lambda: metrics.BinaryAccuracy(threshold=0.5), "mse", 3, "BinaryAccuracy", "binary"),
    (lambda: metrics.BinaryAccuracy(threshold=0.4), "mse", 3, "BinaryAccuracy", None),
    (metrics.Accuracy, "mse", 3, "Accuracy", None),
    (Percent, "mse", 3, "Percent", None),
    ("mean_absolute_error", "mse", 3, "MeanAbsoluteError", None),
]


@pytest.mark.parametrize(("given", "loss", "units", "resolved", "kind"), ACCURACIES)
def test_accuracy_is_what_keras_resolves_it_to(
    given: Any, loss: str, units: int, resolved: str, kind: str | None
) -> None:
    makes_metric = callable(given) and not hasattr(metrics, getattr(given, "__name__", ""))
    metric = given() if isinstance(given, type) or makes_metric else given
    model = net(units)
    model.compile("sgd", loss, metrics=[metric])
    found = read_recipe(model, read(model))
    assert found.accuracy == kind
    y = np.zeros(2, np.int32) if found.loss.sparse else np.zeros((2, units))
    model.test_on_batch(np.zeros((2, 4, 4, 1)), y)
    (theirs,) = model.metrics[1].metrics
    assert type(theirs).__name__ == resolved
    assert accuracy_kind(theirs, found.loss, (units,)) == kind


def test_an_accuracy_that_wants_other_labels_than_the_loss() -> None:
    indices, one_hot = Loss("sparse_categorical_crossentropy"), Loss("categorical_crossentropy")
    assert accuracy_kind(metrics.SparseCategoricalAccuracy(), one_hot, (3,)) is None
    assert accuracy_kind(metrics.CategoricalAccuracy(), indices, (3,)) is None
    assert accuracy_kind(metrics.BinaryAccuracy(), indices, (3,)) is None


def test_the_first_accuracy_among_all_metrics_counts() -> None:
    found = recipe(
        metrics=["mae", lambda y_true, y_pred: y_pred], weighted_metrics=["acc"], loss="mse"
    )
    assert found.accuracy == "categorical"
    assert recipe(metrics=[["mae", "accuracy"]]).accuracy == "categorical"
    assert recipe().accuracy is None
    assert recipe(metrics=["no_such_metric"]).accuracy is None  # Keras names it


# Optimizers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sgd", Optimizer("sgd")),
        ("rmsprop", Optimizer("rmsprop")),
        ("adam", Optimizer("adam")),
        ("adamw", Optimizer("adam", weight_decay=0.004)),
        (
            optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=0.1, clipnorm=1.0),
            Optimizer("sgd", momentum=0.9, nesterov=True, weight_decay=0.1, clip=Clip("norm", 1.0)),
        ),
        (
            optimizers.RMSprop(rho=0.8, momentum=0.5, epsilon=1e-3, centered=True, clipvalue=2),
            Optimizer(
                "rmsprop",
                rho=0.8,
                momentum=0.5,
                epsilon=1e-3,
                centered=True,
                clip=Clip("value", 2.0),
            ),
        ),
        (
            optimizers.Adam(
                beta_1=0.8, beta_2=0.9, epsilon=1e-4, amsgrad=True, global_clipnorm=3.0
            ),
            Optimizer(
                "adam",
                beta_1=0.8,
                beta_2=0.9,
                epsilon=1e-4,
                amsgrad=True,
                clip=Clip("global_norm", 3.0),
            ),
        ),
        (optimizers.SGD(clipnorm=0.0), Optimizer("sgd")),
        (optimizers.SGD(loss_scale_factor=8.0), Optimizer("sgd")),
        (optimizers.SGD(use_ema=True), Optimizer("sgd", average=Average(0.99))),
        (
            optimizers.SGD(
                use_ema=True,
                ema_momentum=0.5,
                ema_overwrite_frequency=3,
                gradient_accumulation_steps=2,
            ),
            Optimizer("sgd", accumulate=2, average=Average(0.5, 3)),
        ),
        ("adadelta", Optimizer("adadelta", rho=0.95)),
        ("adagrad", Optimizer("adagrad")),
        ("adamax", Optimizer("adamax")),
        ("nadam", Optimizer("nadam")),
        ("ftrl", Optimizer("ftrl")),
        ("lion", Optimizer("lion", beta_2=0.99)),
        (
            optimizers.Ftrl(0.1, -0.25, 0.5, 0.125, 0.25, 0.5, 0.75),
            Optimizer("ftrl", leader=Leader(-0.25, 0.125, 0.25, 0.5, 0.75)),
        ),
        (
            optimizers.ScheduleFreeAdamW(beta_1=0.5, warmup_steps=3, weight_decay=0.25),
            Optimizer(
                "schedule_free_adam", beta_1=0.5, epsilon=1e-8, warmup=3, weight_decay=0.25
            ),
        ),
    ],
)
def test_optimizers(given: Any, expected: Optimizer) -> None:
    assert recipe(given).optimizer == expected


class OwnSGD(optimizers.SGD):
    pass


@pytest.mark.parametrize(
    "given",
    [
        OwnSGD(clipnorm=1.0),
        optimizers.LossScaleOptimizer(optimizers.SGD()),
        optimizers.Lamb(),
        "adafactor",
        "muon",
    ],
)
def test_optimizers_whose_steps_are_left_to_keras(given: Any) -> None:
    assert recipe(given).optimizer == Optimizer("bridged")


def test_all_that_keras_ships_has_a_route() -> None:
    """What is bridged, by name: everything else is compiled."""
    spaces = (keras.optimizers, keras.constraints, keras.regularizers)
    kinds = (keras.Optimizer, keras.constraints.Constraint, keras.Regularizer)
    found = {
        name: route(each)
        for space, kind in zip(spaces, kinds, strict=True)
        for name, each in vars(space).items()
        if isinstance(each, type) and issubclass(each, kind) and each is not kind
    }
    bridged = {name for name, way in found.items() if way == "bridged"}
    assert bridged == {
        "Adafactor",
        "Lamb",
        "LossScaleOptimizer",
        "MultiOptimizer",
        "Muon",
        "OrthogonalRegularizer",
        "orthogonal_regularizer",
    }
    assert len(found) > 20


def test_without_an_optimizer() -> None:
    with pytest.raises(NotCovered, match="without an optimizer") as refusal:
        recipe(None)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        (optimizers.SGD(clipnorm=-1.0), "clipnorm=-1.0"),
        (optimizers.SGD(clipvalue=math.nan), "clipvalue=nan"),
        (optimizers.SGD(global_clipnorm=math.inf), "global_clipnorm=inf"),
        (optimizers.SGD(weight_decay=-0.1), "weight_decay=-0.1"),
        (optimizers.RMSprop(rho=2.0), "rho=2.0"),
        (optimizers.RMSprop(momentum=-0.5), "momentum=-0.5"),
        (optimizers.RMSprop(epsilon=None), "epsilon=None"),
        (optimizers.Adam(beta_1=1.0), "beta_1=1.0"),
        (optimizers.Adam(beta_2=-0.1), "beta_2=-0.1"),
        (optimizers.Adam(epsilon=-1e-7), "epsilon=-1e-07"),
        (optimizers.Adadelta(rho=math.nan), "rho=nan"),
        (optimizers.Ftrl(beta=-1.0), "beta=-1.0"),
        (optimizers.Nadam(beta_2=1.0), "beta_2=1.0"),
        (optimizers.ScheduleFreeAdamW(beta_1=0.0), "beta_1=0.0"),
    ],
)
def test_arguments_outside_their_range(given: Any, argument: str) -> None:
    with pytest.raises(ValueError, match=f"must be a finite number .* Received: {argument}"):
        recipe(given)


def test_weights_that_do_not_decay() -> None:
    model = net()
    optimizer = optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    reading = read(model)
    marked = mark_decay(optimizer, reading)
    assert [one.decays for one in marked.graph.parameters] == [True, False, True, False]
    assert marked.variables == reading.variables
    assert read_recipe(model, marked).optimizer.weight_decay == 0.004
