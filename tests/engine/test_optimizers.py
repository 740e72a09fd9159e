"""Fifty steps of each optimizer on the same batches follow Keras' own."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, optimizers, regularizers

from convmill.plan.graph.parameters import Regularizer
from convmill.plan.recipe import Average, Clip, Leader, Loss, Optimizer
from tests.engine.fences import fenced
from tests.engine.nets import (
    GUARD,
    Data,
    assert_intact,
    assert_near,
    conv,
    data,
    dense,
    flatten,
    graph_of,
    parameters,
    pool,
    program_of,
    recipe_of,
)
from tests.engine.reference import model_of
from tests.twin import net as twin

STEPS = 50
STOPS = (1, 20, STEPS)  # where weights and slots are compared, and a new call goes on
RATES = np.where(np.arange(STEPS) < 30, 0.01, 0.002)  # the rate changes on the way
TOLERANCE = 1e-4  # relative norm: two float32 trajectories drift apart, here by up to 2e-5

VARIANTS = {
    "sgd": (optimizers.SGD(), Optimizer("sgd")),
    "sgd momentum": (optimizers.SGD(momentum=0.9), Optimizer("sgd", momentum=0.9)),
    "sgd nesterov": (
        optimizers.SGD(momentum=0.8, nesterov=True),
        Optimizer("sgd", momentum=0.8, nesterov=True),
    ),
    "sgd nesterov without momentum": (
        optimizers.SGD(nesterov=True),
        Optimizer("sgd", nesterov=True),
    ),
    "sgd decay": (optimizers.SGD(weight_decay=0.1), Optimizer("sgd", weight_decay=0.1)),
    "sgd clipnorm": (
        optimizers.SGD(momentum=0.5, clipnorm=0.1),
        Optimizer("sgd", momentum=0.5, clip=Clip("norm", 0.1)),
    ),
    "sgd global clipnorm": (
        optimizers.SGD(global_clipnorm=0.1),
        Optimizer("sgd", clip=Clip("global_norm", 0.1)),
    ),
    "sgd clipvalue": (optimizers.SGD(clipvalue=0.02), Optimizer("sgd", clip=Clip("value", 0.02))),
    "sgd clipnorm out of reach": (
        optimizers.SGD(clipnorm=1e3),
        Optimizer("sgd", clip=Clip("norm", 1e3)),
    ),
    "rmsprop": (optimizers.RMSprop(), Optimizer("rmsprop")),
    "rmsprop rho": (
        optimizers.RMSprop(rho=0.5, epsilon=1e-3),
        Optimizer("rmsprop", rho=0.5, epsilon=1e-3),
    ),
    "rmsprop momentum": (
        optimizers.RMSprop(momentum=0.5),
        Optimizer("rmsprop", momentum=0.5),
    ),
    "rmsprop centered": (
        optimizers.RMSprop(centered=True),
        Optimizer("rmsprop", centered=True),
    ),
    "rmsprop centered momentum decay": (
        optimizers.RMSprop(centered=True, momentum=0.5, weight_decay=0.02, clipvalue=0.1),
        Optimizer(
            "rmsprop", centered=True, momentum=0.5, weight_decay=0.02, clip=Clip("value", 0.1)
        ),
    ),
    "adam": (optimizers.Adam(), Optimizer("adam")),
    "adam betas": (
        optimizers.Adam(beta_1=0.8, beta_2=0.9, epsilon=1e-4),
        Optimizer("adam", beta_1=0.8, beta_2=0.9, epsilon=1e-4),
    ),
    "adam amsgrad": (
        optimizers.Adam(amsgrad=True, beta_2=0.9),
        Optimizer("adam", amsgrad=True, beta_2=0.9),
    ),
    "adam global clipnorm": (
        optimizers.Adam(global_clipnorm=0.1),
        Optimizer("adam", clip=Clip("global_norm", 0.1)),
    ),
    "adamw": (optimizers.AdamW(weight_decay=0.1), Optimizer("adam", weight_decay=0.1)),
    "adamw amsgrad clipnorm": (
        optimizers.AdamW(weight_decay=0.05, amsgrad=True, clipnorm=0.1),
        Optimizer("adam", weight_decay=0.05, amsgrad=True, clip=Clip("norm", 0.1)),
    ),
    "adadelta decay clipvalue": (
        optimizers.Adadelta(rho=0.5, epsilon=1e-3, weight_decay=0.1, clipvalue=0.05),
        Optimizer("adadelta", rho=0.5, epsilon=1e-3, weight_decay=0.1, clip=Clip("value", 0.05)),
    ),
    "adagrad clipnorm": (
        optimizers.Adagrad(initial_accumulator_value=0.0, epsilon=1e-3, clipnorm=0.1),
        Optimizer("adagrad", epsilon=1e-3, clip=Clip("norm", 0.1)),
    ),
    "adamax betas decay": (
        optimizers.Adamax(beta_1=0.5, beta_2=0.8, epsilon=1e-3, weight_decay=0.1),
        Optimizer("adamax", beta_1=0.5, beta_2=0.8, epsilon=1e-3, weight_decay=0.1),
    ),
    "nadam betas global clipnorm": (
        optimizers.Nadam(beta_1=0.5, beta_2=0.8, epsilon=1e-3, global_clipnorm=0.1),
        Optimizer("nadam", beta_1=0.5, beta_2=0.8, epsilon=1e-3, clip=Clip("global_norm", 0.1)),
    ),
    "ftrl": (optimizers.Ftrl(), Optimizer("ftrl")),
    "ftrl penalties": (
        optimizers.Ftrl(
            learning_rate_power=-0.3,
            initial_accumulator_value=0.05,
            l1_regularization_strength=0.01,
            l2_regularization_strength=0.02,
            l2_shrinkage_regularization_strength=0.03,
            beta=0.1,
        ),
        Optimizer("ftrl", leader=Leader(-0.3, 0.01, 0.02, 0.03, 0.1)),
    ),
    "ftrl fixed rate": (
        optimizers.Ftrl(learning_rate_power=0.0, clipnorm=0.1),
        Optimizer("ftrl", leader=Leader(power=0.0), clip=Clip("norm", 0.1)),
    ),
    "lion betas decay": (
        optimizers.Lion(beta_1=0.5, beta_2=0.8, weight_decay=0.1),
        Optimizer("lion", beta_1=0.5, beta_2=0.8, weight_decay=0.1),
    ),
    "schedule free warmup decay": (
        optimizers.ScheduleFreeAdamW(
            beta_1=0.5, beta_2=0.8, epsilon=1e-3, warmup_steps=30, weight_decay=0.1
        ),
        Optimizer(
            "schedule_free_adam",
            beta_1=0.5,
            beta_2=0.8,
            epsilon=1e-3,
            warmup=30,
            weight_decay=0.1,
        ),
    ),
    "adam average": (
        optimizers.Adam(use_ema=True, ema_momentum=0.8),
        Optimizer("adam", average=Average(0.8)),
    ),
    "sgd average overwrites": (
        optimizers.SGD(
            momentum=0.5,
            weight_decay=0.1,
            use_ema=True,
            ema_momentum=0.7,
            ema_overwrite_frequency=3,
        ),
        Optimizer("sgd", momentum=0.5, weight_decay=0.1, average=Average(0.7, 3)),
    ),
    "adagrad gathers with average": (
        optimizers.Adagrad(
            gradient_accumulation_steps=4,
            global_clipnorm=0.1,
            weight_decay=0.1,
            use_ema=True,
            ema_momentum=0.7,
            ema_overwrite_frequency=2,
        ),
        Optimizer(
            "adagrad",
            accumulate=4,
            clip=Clip("global_norm", 0.1),
            weight_decay=0.1,
            average=Average(0.7, 2),
        ),
    ),
}


def small_graph(frozen=False):
    """A convnet with regularizers, one layer that does not decay, and perhaps a frozen one."""
    return graph_of(
        (6, 5, 1),
        conv(3, (2, 2), regularizer=Regularizer(l2=0.01)),
        pool("max", (2, 2)),
        flatten,
        dense(5, "tanh", trainable=not frozen),
        dense(3, "softmax", decays=False, regularizer=Regularizer(l1=1e-3)),
    )


def steps_data(graph, loss, seed=4):
    """Fifty batches of six, the last one smaller, from thirty images."""
    rng = np.random.default_rng(seed)
    sample = data(rng, graph, loss, 30, 6)
    order = np.concatenate([rng.permutation(30) for _ in range(STEPS * 6 // 30)])
    return dataclasses.replace(sample, order=order[:-2].astype(np.int64))


def some(sample: Data, first: int, last: int) -> Data:
    """The batches of some steps."""
    size = sample.batch_size
    return dataclasses.replace(sample, order=sample.order[first * size : last * size])


def trained(program, sample, first, last, **options):
    """Take steps [first, last)."""
    part = some(sample, first, last).batches
    return program.train(part, RATES[first:last], iterations=first, **options)


def keras_state(graph, optimizer, values):
    """Keras variables of all parameters and a fresh copy of the optimizer, built on them."""
    variables = [keras.Variable(value) for value in values]
    copy = type(optimizer).from_config(optimizer.get_config())
    copy.exclude_from_weight_decay(
        var_list=[v for v, p in zip(variables, graph.parameters, strict=True) if not p.decays]
    )
    copy.build([v for v, p in zip(variables, graph.parameters, strict=True) if p.trainable])
    return variables, copy


def keras_step(graph, recipe, variables, optimizer, rate, x, y):
    """One step by Keras' optimizer on the gradients of the twin, which are exact."""
    weights = [variable.numpy() for variable in variables]
    _, found = twin.gradients(graph, recipe, weights, x, y)
    trainable = [index for index, one in enumerate(graph.parameters) if one.trainable]
    optimizer.learning_rate = rate
    optimizer.apply([keras.ops.cast(found[index], "float32") for index in trainable])


def keras_slots(optimizer, names):
    """Keras' slots by name, in the order of the variables."""
    weights = [weight.path.replace("/", "_") for weight in optimizer._trainable_variables]
    found = {slot.name: slot.numpy() for slot in optimizer.variables}
    return {name: [found[f"{weight}_{name}"] for weight in weights] for name in names}


def assert_same_state(program, variables, optimizer):
    """Weights and slots are near Keras'."""
    for ours, theirs in zip(program.get_parameters(), variables, strict=True):
        assert_near(ours, theirs.numpy(), theirs.path, TOLERANCE)
    slots = program.get_slots()
    for name, exact in keras_slots(optimizer, slots).items():
        for ours, theirs in zip(slots[name], exact, strict=True):
            # a slot's value may be far smaller than the steps it makes
            assert_near(ours, theirs, name, 2 * TOLERANCE)


FROZEN = ("sgd nesterov", "rmsprop centered momentum decay", "adam global clipnorm")
CASES = [(name, False) for name in VARIANTS] + [(name, True) for name in FROZEN]


@pytest.mark.parametrize(("variant", "frozen"), CASES)
def test_follows_the_optimizer_of_keras(variant, frozen):
    """All weights trained, or the layer in the middle frozen."""
    optimizer, ours = VARIANTS[variant]
    graph = small_graph(frozen)
    recipe = recipe_of("categorical_crossentropy", ours)
    values = parameters(np.random.default_rng(9), graph)
    sample = steps_data(graph, recipe.loss)
    program = program_of(graph, recipe, values, guard=GUARD)
    variables, optimizer = keras_state(graph, optimizer, values)
    program.set_slots(keras_slots(optimizer, ours.slots))
    for first, last in zip((0, *STOPS), STOPS, strict=False):
        with fenced():
            trained(program, sample, first, last)
        for step in range(first, last):
            chosen = sample.batch(step)
            keras_step(
                graph, recipe, variables, optimizer, RATES[step], sample.x[chosen], sample.y[chosen]
            )
        assert_same_state(program, variables, optimizer)
    assert_intact(program)


@pytest.mark.parametrize(
    "variant",
    [
        "sgd nesterov",
        "rmsprop centered momentum decay",
        "adamw amsgrad clipnorm",
        "nadam betas global clipnorm",
        "schedule free warmup decay",
        "adagrad gathers with average",
    ],
)
def test_goes_on_from_slots(variant):
    """Weights, slots and the number of steps are all that a run leaves behind."""
    graph, recipe = small_graph(), recipe_of("categorical_crossentropy", VARIANTS[variant][1])
    values = parameters(np.random.default_rng(9), graph)
    sample = steps_data(graph, recipe.loss)
    whole, first = (program_of(graph, recipe, values) for _ in range(2))
    record = trained(whole, sample, 0, STEPS)
    trained(first, sample, 0, 20)
    second = program_of(graph, recipe, first.get_parameters())
    second.set_slots(first.get_slots())
    rest = trained(second, sample, 20, STEPS)
    np.testing.assert_array_equal(record.loss[20 * sample.batch_size :], rest.loss)
    np.testing.assert_array_equal(record.penalty[20:], rest.penalty)
    for one, other in zip(whole.get_parameters(), second.get_parameters(), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, slots in whole.get_slots().items():
        for one, other in zip(slots, second.get_slots()[name], strict=True):
            np.testing.assert_array_equal(one, other)


def convnet(*, units, activation):
    """A convnet in Keras."""
    return model_of(
        (8, 8, 2),
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(5, 2, activation="elu", padding="same"),
        layers.AveragePooling2D(2, strides=1),
        layers.Flatten(),
        layers.Dense(6, activation="gelu", kernel_regularizer=regularizers.L1L2(1e-3, 1e-2)),
        layers.Dense(units, activation=activation),
    )


@pytest.mark.parametrize(
    ("optimizer", "ours", "loss", "activation"),
    [
        (optimizers.RMSprop(), Optimizer("rmsprop"), Loss("categorical_crossentropy"), "softmax"),
        (
            optimizers.SGD(momentum=0.9, nesterov=True),
            Optimizer("sgd", momentum=0.9, nesterov=True),
            Loss("binary_crossentropy", label_smoothing=0.1),
            "sigmoid",
        ),
        (
            optimizers.AdamW(amsgrad=True, global_clipnorm=0.5),
            Optimizer("adam", weight_decay=0.004, amsgrad=True, clip=Clip("global_norm", 0.5)),
            Loss("sparse_categorical_crossentropy", from_logits=True),
            "linear",
        ),
        (
            optimizers.Adam(clipnorm=0.1),
            Optimizer("adam", clip=Clip("norm", 0.1)),
            Loss("mean_squared_error", reduction="sum"),
            "tanh",
        ),
    ],
    ids=["rmsprop", "sgd", "adamw", "adam"],
)
def test_follows_train_on_batch(optimizer, ours, loss, activation):
    """A whole convnet, losses and weights, against ``keras.Model.train_on_batch``."""
    keras.utils.set_random_seed(1)
    model, reading = convnet(units=3, activation=activation)
    program = program_of(
        reading.graph, recipe_of(loss, ours), [one.numpy() for one in reading.variables]
    )
    sample = steps_data(reading.graph, loss)
    classes = {
        "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
        "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
        "binary_crossentropy": keras.losses.BinaryCrossentropy,
        "mean_squared_error": keras.losses.MeanSquaredError,
    }
    options: dict[str, object] = {
        "reduction": "sum_over_batch_size" if loss.reduction == "mean" else "sum"
    }
    if loss.from_logits:
        options["from_logits"] = True
    if loss.label_smoothing:
        options["label_smoothing"] = loss.label_smoothing
    model.compile(optimizer, classes[loss.name](**options))
    record = trained(program, sample, 0, STEPS)
    for step in range(STEPS):
        chosen = sample.batch(step)
        model.optimizer.learning_rate = RATES[step]
        model.reset_metrics()
        theirs = model.train_on_batch(sample.x[chosen], sample.y[chosen])
        part = record.loss[step * 6 : (step + 1) * 6]
        mine = part.sum() / (len(part) if loss.reduction == "mean" else 1) + record.penalty[step]
        assert mine == pytest.approx(float(theirs), rel=1e-4), f"loss of step {step}"
    assert_same_state(program, reading.variables, model.optimizer)
