"""What layers and models compute in Python code: followed, compiled, trained as Keras does."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import convmill
from convmill.plan.read import read
from convmill.plan.refusals import NotCovered
from convmill.train import reading
from tests.train.nets import assert_same_history, assert_same_state, seeded_fit

SHAPE = (7, 6, 2)


class Scaled(layers.Layer):
    """A factor for each channel, one for all, and a function of a weight."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.gains = [self.add_weight(shape=(), initializer="ones", name="gain")]

    def call(self, x: Any, training: Any = None) -> Any:
        return self.scale * x * self.gains[0] + ops.softplus(self.scale) - 0.5


class OwnDense(layers.Layer):
    """A product with a weight, and a bias."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), name="bias")

    def call(self, x: Any) -> Any:
        return ops.tanh(ops.matmul(x, self.kernel) + self.bias)


class Block(layers.Layer):
    """Layers inside a layer, normalization and dropout among them."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.convolutions = [layers.Conv2D(filters, 3, padding="same") for _ in range(2)]
        self.normalization = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.0)

    def call(self, x: Any, training: bool = False) -> Any:
        first = self.convolutions[0](x)
        second = self.normalization(self.convolutions[1](ops.relu(first)), training=training)
        return self.dropout(ops.relu(first + second), training=training)


class Net(keras.Model):
    """A model of the user's own class."""

    def __init__(self) -> None:
        super().__init__(name="net")
        self.divisor = 2.0
        self.blocks = [Block(4), Block(4)]
        self.flatten = layers.Flatten()
        self.classes = layers.Dense(3, activation="softmax")
        self.shift = self.add_weight(shape=(1, 1, 1, 2), name="shift")

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.shift + x / self.divisor
        for block in self.blocks:
            x = block(x, training=training)
        return self.classes(self.flatten(x))


def sequential(*stack: Any) -> keras.Model:
    maps = [layers.Conv2D(4, 3), *stack, layers.Flatten(), layers.Dense(3, activation="softmax")]
    return keras.Sequential([keras.Input(SHAPE), *maps], name="net")


def arithmetic() -> keras.Model:
    """Numbers and arrays beside tensors, on both sides."""
    image = keras.Input(SHAPE)
    x = 1 - layers.Conv2D(4, 3)((image * 2.0 + 1.0) / 4)
    x = ops.add(x, np.arange(4, dtype="float32")) - np.ones((1, 5, 4, 1), "float32")
    x = ops.maximum(x, 0.1) * ops.minimum(2.0, x) + x**2 + 1 / (2 + ops.abs(x))
    x = ops.matmul(x, np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3))
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))


def swish(x: Any) -> Any:
    return x * ops.sigmoid(x)


def activated() -> keras.Model:
    """Functions and layers as activations: of the user's, with weights, with axes, penalized."""
    leaky = functools.partial(keras.activations.relu, negative_slope=0.1)
    return sequential(
        layers.Conv2D(4, 1, activation=swish, activity_regularizer="l2"),
        layers.Conv2D(3, 2, activation="softmax", data_format="channels_first"),
        layers.Dense(3, activation=layers.PReLU(alpha_initializer="ones")),
        layers.Activation(leaky),
        layers.Activation(lambda x: x),
    )


MODELS = {
    "activations": activated,
    "arithmetic": arithmetic,
    "lambda": lambda: sequential(layers.Lambda(lambda x, by: x * by - 1, arguments={"by": 3})),
    "weights": lambda: sequential(Scaled()),
    "dense": lambda: sequential(OwnDense(5)),
    "block": lambda: sequential(Block(4)),
    "model": Net,
}


def both(make: Any, jit: bool = False) -> tuple[Any, Any]:
    """A compiled model, and a plain one that begins with the same weights; Keras is the quicker for
    ``jit`` where there are many operations that no other test has."""
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        model = make()
        loss = "sparse_categorical_crossentropy"
        model.compile("sgd", loss, metrics=["accuracy"], jit_compile=jit)
        found.append(model)
    return convmill.accelerate(found[0], strict=True), found[1]


def data() -> tuple[Any, Any]:
    x = np.random.default_rng(5).standard_normal((24, *SHAPE)).astype("float32")
    return x, (np.abs(x.sum(axis=(1, 2, 3))) % 3).astype("int32")


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_training_follows_keras(make: Any) -> None:
    ours, theirs = both(make, jit=make is activated)
    x, y = data()
    histories = [seeded_fit(model, x, y, epochs=2) for model in (ours, theirs)]
    assert_same_history(*histories, 5e-5)
    assert_same_state(ours, theirs, 5e-5)
    found, expected = (model.predict(x, verbose=0) for model in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=5e-5)


class Penalized(layers.Layer):
    """Adds to the loss in its call: means and sums, of some axes first or of all, also of what it
    reads; and has a regularizer of what it gives."""

    def __init__(self) -> None:
        super().__init__(activity_regularizer="l2")
        self.convolution = layers.Conv2D(3, 3, padding="same")

    def call(self, x: Any) -> Any:
        y = self.convolution(x)
        inside = 1 + y - ops.square(y) - ops.exp(0.5 * y)
        self.add_loss(-0.05 * ops.mean(ops.sum(inside, axis=(1, 2))))
        self.add_loss([ops.sum(ops.mean(x, axis=0) * 0.01) / 3 - ops.sum(ops.abs(y) * 0.001)])
        self.add_loss(0.001 * ops.sum(ops.square(x), axis=(1, -1)))
        return y


def test_added_losses_follow_keras() -> None:
    """In batches of 16 and 8; behind it pooling, and in front of it a trained layer."""
    ours, theirs = both(lambda: sequential(Penalized(), layers.MaxPooling2D()), jit=True)
    x, y = data()
    assert_same_history(*(seeded_fit(model, x, y, epochs=2) for model in (ours, theirs)), 5e-5)
    assert_same_state(ours, theirs, 5e-5)
    found, expected = (model.evaluate(x, y, batch_size=16, verbose=0) for model in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=5e-5)
    assert not ours.layers[1]._loss_ids


class Untold(keras.Model):
    """A call that does not say whether it is training: Keras' fit cannot tell its layers either."""

    def __init__(self, *stack: Any) -> None:
        super().__init__(name="net")
        self.stack = [*stack, layers.Flatten(), layers.Dense(3, activation="softmax")]

    def call(self, x: Any) -> Any:
        for layer in self.stack:
            x = layer(x)
        return x


class Stacked(layers.Layer):
    def __init__(self, *stack: Any) -> None:
        super().__init__()
        self.stack = list(stack)

    def call(self, x: Any) -> Any:
        for layer in self.stack:
            x = layer(x)
        return x


class Told(Untold):
    def call(self, x: Any, training: Any = None) -> Any:
        return super().call(x)


UNTOLD = {
    "normalization": layers.BatchNormalization,
    "offset": lambda: layers.BatchNormalization(scale=False),
    "dropout": lambda: layers.Dropout(0.9),
}


@pytest.mark.parametrize("make", UNTOLD.values(), ids=UNTOLD)
def test_a_call_without_training_is_fitted_as_outside_training(make: Any) -> None:
    """As Keras does, which nobody means: a line says what to write."""
    ours, theirs = both(lambda: Untold(make()), jit=True)
    x, y = data()
    assert_same_history(*(seeded_fit(model, x, y, epochs=2) for model in (ours, theirs)), 5e-5)
    assert_same_state(ours, theirs, 5e-5)
    (note,) = convmill.explain(ours).notes
    assert "as outside training" in note
    assert "training=None" in note


def test_layers_are_told_of_training_as_keras_tells_them() -> None:
    """A model's call that takes ``training`` need not hand it on; and layers inside a layer."""
    flip, dropout = layers.RandomFlip(seed=1), layers.Dropout(0.2, seed=2)
    stack = (Stacked(flip, dropout), flip, dropout, layers.BatchNormalization())
    model = convmill.accelerate(Told(*stack), strict=True)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = data()
    seeded_fit(model, x, y)
    uses = (flip.generator.state.numpy()[1], dropout.seed_generator.state.numpy()[1])
    assert uses == (4, 4)  # twice in each of two steps
    found, expected = model.predict(x, verbose=0), np.asarray(model(x, training=False))
    np.testing.assert_allclose(found, expected, atol=5e-5)
    told = sequential(layers.Lambda(lambda x: flip(x, training=True)))
    with pytest.raises(NotCovered, match=r"calls 'random_flip.*' with training=True"):
        read(told)


class TwoEnds(keras.Model):
    """Lists in, a dict out, and a layer that no call reads."""

    def __init__(self) -> None:
        super().__init__(name="net")
        self.convolution = layers.Conv2D(4, 3)
        self.flatten = layers.Flatten()
        self.unused = layers.Dense(7)
        self.heads = [layers.Dense(3), layers.Dense(2)]

    def call(self, inputs: Any) -> Any:
        image, vector = inputs
        flat = ops.concatenate([self.flatten(self.convolution(image)), vector], axis=1)
        return {"a": self.heads[0](flat), "b": self.heads[1](flat)}


@pytest.mark.filterwarnings("ignore:.build:UserWarning")  # Keras', of the layer that is unused
def test_a_model_of_several_ends_is_built_on_the_first_batch() -> None:
    rng = np.random.default_rng(5)
    x = [rng.random((24, *size)).astype("float32") for size in (SHAPE, (5,))]
    y = {"a": rng.random((24, 3)).astype("float32"), "b": rng.random((24, 2)).astype("float32")}
    found = []
    for make in (lambda model: convmill.accelerate(model, strict=True), lambda model: model):
        keras.utils.set_random_seed(3)
        model = make(TwoEnds())
        model.compile("sgd", "mse", jit_compile=False)
        found.append((seeded_fit(model, x, y, epochs=2), model.predict(x, verbose=0)))
    assert_same_history(found[0][0], found[1][0], 5e-5)
    assert list(found[0][1]) == list(found[1][1])
    for name, expected in found[1][1].items():
        np.testing.assert_allclose(found[0][1][name], expected, atol=5e-5)


def test_reading_leaves_no_trace() -> None:
    model = Net()
    model(np.zeros((1, *SHAPE), "float32"))
    before = [(vars(layer).copy(), len(layer._inbound_nodes)) for layer in model._flatten_layers()]
    names = [node.name for node in read(model).graph.nodes]
    after = [(vars(layer).copy(), len(layer._inbound_nodes)) for layer in model._flatten_layers()]
    assert before == after
    assert names == [node.name for node in read(model).graph.nodes]


def test_what_is_changed_is_seen() -> None:
    ours, theirs = both(Net)
    x, y = data()
    for model in (ours, theirs):
        seeded_fit(model, x, y)
        model.divisor = -0.5
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    found, expected = (model.predict(x, verbose=0) for model in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=5e-5)


# What cannot be followed -------------------------------------------------------------------------


def custom(call: Any) -> Any:
    """A layer with a weight, and that call."""

    class Custom(layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
            self.count = self.add_weight(shape=(), trainable=False, name="count")

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    Custom.call = call
    return Custom()


def branching(self: Any, x: Any) -> Any:
    return x if ops.sum(x) > 0 else -x


def reads_a_number(self: Any, x: Any) -> Any:
    return x * float(ops.sum(ops.convert_to_numpy(self.scale)))


def counts(self: Any, x: Any) -> Any:
    self.count.assign(self.count + 1)
    return x * self.scale


def other_in_training(self: Any, x: Any, training: bool = False) -> Any:
    return x * self.scale if training else x + self.scale


def draws(self: Any, x: Any) -> Any:
    return x + keras.random.normal((4,))


def draws_by_numpy(self: Any, x: Any) -> Any:
    return x * np.random.default_rng().uniform()


def adds_a_loss(self: Any, x: Any) -> Any:
    self.add_loss(ops.max(x))
    return x * self.scale


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (branching, "ends in"),
        (reads_a_number, "ends in"),
        (counts, "ends in|assigns"),
        (other_in_training, "does something else in training"),
        (draws, "in a way that no graph tells"),
        (draws_by_numpy, "computes other numbers"),
        (adds_a_loss, "adds a loss that is no sum or mean over images"),
        (lambda self, x: ops.cumsum(x * self.scale, axis=1), "operation .*umsum"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(call: Any, words: str) -> None:
    with pytest.raises(NotCovered, match=words) as refusal:
        read(sequential(custom(call)))
    assert "custom" in refusal.value.reason
    assert refusal.value.remedy


def test_a_refusal_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = convmill.accelerate(sequential(custom(draws_by_numpy)), strict=True)
    model.compile("sgd", "mse")
    reads = []
    monkeypatch.setattr(reading, "read", lambda *of: reads.append(0) or read(*of))
    for _ in range(3):
        with pytest.raises(NotCovered, match="computes other numbers"):
            model.predict(data()[0], verbose=0)
    assert len(reads) == 1
