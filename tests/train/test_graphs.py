"""Branches, shared layers and batch normalization: trained as plain Keras trains them."""

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill.plan.graph.moves import Move
from convmill.plan.read import read
from convmill.runtime.program import Program
from tests.train.nets import assert_same_history, assert_same_state, seeded_fit

SHAPE = (7, 6, 2)


def residual(image):
    """A branch around two convolutions of unlike padding; the sum is read twice."""
    first = layers.Conv2D(5, 3, padding="same", activation="relu")(image)
    second = layers.Conv2D(5, 3, padding="same")(first)
    wide = layers.Conv2D(5, 5, padding="same")(first)
    return layers.ReLU()(layers.Add()([second, first, wide]))


def dense_block(image):
    """Every layer reads all before it."""
    maps = [image]
    for filters in (3, 4):
        read = maps[0] if len(maps) == 1 else layers.Concatenate()(maps)
        maps.append(layers.Conv2D(filters, 3, padding="same", activation="tanh")(read))
    return layers.Concatenate()(maps)


def squeeze_and_excite(image):
    """A factor for each channel, broadcast over the places."""
    maps = layers.Conv2D(8, 3, activation="relu")(image)
    factors = layers.GlobalAveragePooling2D(keepdims=True)(maps)
    factors = layers.Conv2D(8, 1, activation="sigmoid")(factors)
    return layers.Multiply()([maps, factors])


def merges(image):
    """All that merges two or three tensors place by place."""
    one, two, three = (layers.Conv2D(4, 3, activation="tanh")(image) for _ in range(3))
    found = [
        layers.Average()([one, two, three]),
        layers.Maximum()([one, two, three]),
        layers.Minimum()([three, one]),
        layers.Subtract()([two, three]),
        layers.Multiply()([one, two, three]),
    ]
    return layers.Concatenate(axis=1)(found)


def merges_with_activations(image):
    """What merges and what is behind it as one stage, and a sum that is read before as well."""
    one, two, three = (layers.Conv2D(4, 3)(image) for _ in range(3))
    mixed = layers.Add()([one, layers.ReLU(max_value=1.0)(layers.Subtract()([two, three]))])
    found = [
        layers.LeakyReLU(0.2)(layers.Average()([one, two, three])),
        layers.Activation("tanh")(layers.Multiply()([one, two])),
        layers.ELU(0.5)(layers.Minimum()([three, two, one])),
        layers.Activation("sigmoid")(mixed),
        mixed,
    ]
    return layers.Concatenate(axis=1)(found)


def shared(image):
    """One layer at three places, of unlike sizes, and one tensor added to itself."""
    layer = layers.Conv2D(2, 3, padding="same", activation="relu")
    first = layer(layer(image))
    small = layer(layers.MaxPooling2D(2)(first))
    both = layers.Add()([first, first])
    return layers.Concatenate()([layers.Flatten()(both), layers.Flatten()(small)])


def dense_at_places_and_not(image):
    """One dense layer on each place of a map, and on a vector as long as a place."""
    layer = layers.Dense(image.shape[-1])
    mean = layer(layers.GlobalAveragePooling2D()(image))
    return layers.Concatenate()([layers.Flatten()(layer(layer(image))), mean])


def flat_and_padded(image):
    """One map that a padded convolution and Flatten read."""
    maps = layers.Conv2D(3, 2, activation="relu")(image)
    more = layers.Conv2D(3, 3, padding="same")(maps)
    return layers.Concatenate()([layers.Flatten()(maps), layers.Flatten()(more)])


def normalized(image):
    """Batch normalization with and without scale, center and activation."""
    maps = layers.Conv2D(6, 3, padding="same", use_bias=False)(image)
    maps = skip = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(maps))
    maps = layers.Conv2D(6, 3, padding="same", use_bias=False)(maps)
    maps = layers.BatchNormalization(scale=False, epsilon=1e-2)(maps)
    maps = layers.ReLU()(layers.Add()([maps, skip]))
    flat = layers.Dense(17, use_bias=False)(layers.GlobalAveragePooling2D()(maps))
    return layers.BatchNormalization(center=False)(flat)


def normalized_twice(image):
    """One normalization at two places: its statistics move twice in a step."""
    layer = layers.BatchNormalization(momentum=0.7)
    return layers.Conv2D(3, 3)(layer(layers.Conv2D(2, 3, padding="same")(layer(image))))


GRAPHS = [
    *(residual, dense_block, squeeze_and_excite, merges, merges_with_activations, shared),
    dense_at_places_and_not,
    *(flat_and_padded, normalized, normalized_twice),
]


def net(body):
    """The same weights each time."""
    keras.utils.set_random_seed(3)
    image = keras.Input(SHAPE)
    maps = layers.Flatten()(body(image))
    return keras.Model(image, layers.Dense(3, activation="softmax")(maps), name="net")


def both(body):
    """A plain model and one of ours, compiled alike; ours must run compiled."""
    found = []
    for _ in range(2):
        model = net(body)
        loss = "sparse_categorical_crossentropy"
        model.compile("sgd", loss, metrics=["accuracy"])
        found.append(model)
    return convmill.accelerate(found[0], strict=True), found[1]


def data(count=40):
    """Images, and classes that depend on them."""
    x = np.random.default_rng(5).standard_normal((count, *SHAPE)).astype("float32")
    return x, (np.abs(x.sum(axis=(1, 2, 3))) % 3).astype("int32")


@pytest.mark.parametrize("body", GRAPHS, ids=lambda body: body.__name__)
def test_training_follows_keras(body):
    ours, theirs = both(body)
    x, y = data()
    arguments = {"epochs": 2, "validation_data": (x[:9], y[:9])}
    histories = [seeded_fit(model, x, y, **arguments) for model in (ours, theirs)]
    assert_same_history(*histories, 5e-5)
    assert_same_state(ours, theirs, 5e-5)
    found, expected = (model.predict(x, verbose=0) for model in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=5e-5)


def test_frozen_normalization_goes_by_its_moving_statistics():
    x, y = data()
    found = []
    for model in both(normalized):
        seeded_fit(model, x, y)
        for layer in model.layers:
            layer.trainable = not isinstance(layer, layers.BatchNormalization)
        model.compile("sgd", "sparse_categorical_crossentropy")
        found.append(seeded_fit(model, x, y, epochs=2))
    assert_same_history(*found)


@pytest.mark.parametrize("body", [normalized, shared], ids=lambda body: body.__name__)
def test_threads_change_no_bit(body):
    x, y = data()
    results = []
    for threads in (1, 2, 3, 7):
        model = convmill.accelerate(net(body), strict=True, threads=threads)
        model.compile("adam", "sparse_categorical_crossentropy")
        seeded_fit(model, x, y, batch_size=40)
        results.append([*model.get_weights(), model.predict(x, verbose=0)])
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


def channels_first():
    """A chain and a residual block that count channels first, and Flatten of both kinds."""
    first = {"data_format": "channels_first"}
    image = keras.Input((2, 7, 6))
    maps = layers.Conv2D(4, 3, padding="same", use_bias=False, **first)(image)
    maps = skip = layers.ReLU()(layers.BatchNormalization(axis=1)(maps))
    maps = layers.Conv2D(4, 3, padding="same", **first)(layers.Dropout(0.0)(maps))
    maps = layers.Concatenate(axis=1)([layers.Add()([maps, skip]), skip])
    maps = layers.MaxPooling2D((2, 1), **first)(layers.Activation("tanh")(maps))
    flat = [layers.Flatten(**first)(maps), layers.Flatten()(maps)]
    flat.append(layers.GlobalAveragePooling2D(**first)(maps))
    found = layers.Dense(3, activation="softmax", name="a")(layers.Concatenate()(flat))
    return keras.Model(image, [found, layers.Conv2D(2, 1, name="b", **first)(maps)])


def test_channels_first_follow_keras():
    x = np.random.default_rng(5).standard_normal((24, 2, 7, 6)).astype("float32")
    y = [(np.abs(x.sum(axis=(1, 2, 3))) % 3).astype("int32"), x[:, :, 1:4]]
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        model = channels_first()
        model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
        models.append(model)
    ours, theirs = convmill.accelerate(models[0], strict=True), models[1]
    assert_same_history(*(seeded_fit(model, x, y, epochs=2) for model in (ours, theirs)), 5e-5)
    assert_same_state(ours, theirs, 5e-5)
    predicted = [model.predict(x, verbose=0) for model in (ours, theirs)]
    for found, expected in zip(*predicted, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=5e-5)


def test_an_image_is_turned_once():
    model = keras.Sequential([keras.Input((2, 7, 6))])
    for _ in range(3):
        model.add(layers.Conv2D(4, 3, padding="same", data_format="channels_first"))
        model.add(layers.BatchNormalization(axis=1))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D(data_format="channels_first"))
    moves = [node for node in read(model).graph.nodes if isinstance(node.operation, Move)]
    assert len(moves) == 1


def test_inference_folds_normalization_into_convolutions():
    """A bias before it, a depthwise convolution, pooling behind it: one stage each."""
    keras.utils.set_random_seed(2)
    stack = [
        keras.Input(SHAPE),
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.DepthwiseConv2D(2),
        layers.BatchNormalization(scale=False),
        layers.Activation("tanh"),
        layers.Conv2D(20, 1, activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
    ]
    model = keras.Sequential(stack)
    for weight in model.weights:
        weight.assign(np.abs(np.random.default_rng(1).normal(size=weight.shape)) + 0.1)
    x, _ = data(17)
    expected = model.predict(x, verbose=0)
    found = convmill.accelerate(model, strict=True).predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    inference = Program(read(model).graph).networks["inference"]
    assert len(inference.stages) == 4  # conv, depthwise, conv, and what relu keeps apart
    assert inference.stages[0].pooled


def embedded(dtype):
    """A class and noise, as a conditional generator has them; a table of several places."""
    keras.utils.set_random_seed(3)
    label, words = keras.Input((1,), dtype=dtype, name="label"), keras.Input((4,), name="words")
    noise = keras.Input((5,), name="noise")
    factors = layers.Flatten()(layers.Embedding(3, 5)(label))
    table = layers.Embedding(6, 19, name="table")
    lines = layers.Conv1D(2, 3, padding="same")(table(words))
    both = layers.Add()([table(words), table(layers.Rescaling(1)(label))])
    flat = [layers.Flatten()(one) for one in (both, lines)]
    found = layers.Concatenate()([layers.Multiply()([noise, factors]), *flat])
    model = keras.Model([label, words, noise], layers.Dense(2, name="end")(found))
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_embeddings_follow_keras(dtype):
    rng = np.random.default_rng(5)
    x = [rng.integers(0, 3, (24, 1)), rng.integers(0, 6, (24, 4)), rng.random((24, 5))]
    x = [x[0].astype(dtype), x[1].astype("float32"), x[2].astype("float32")]
    y = rng.random((24, 2)).astype("float32")
    ours, theirs = convmill.accelerate(embedded(dtype), strict=True), embedded(dtype)
    assert_same_history(*(seeded_fit(model, x, y, epochs=2) for model in (ours, theirs)), 5e-5)
    assert_same_state(ours, theirs, 5e-5)
    x[1][:] = [0, -1, 6, -7]  # from the end, and what is not there
    found, expected = (model.predict(x, verbose=0) for model in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=5e-5)
