"""Models with several inputs and outputs, against plain Keras from the same seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from tests.train.nets import CLASSES, SHAPE, assert_same_history, assert_same_state, seeded_fit

COUNT = 40
RNG = np.random.default_rng(0)
LEFT = RNG.random((COUNT, *SHAPE)).astype("float32")
RIGHT = RNG.random((COUNT, 4)).astype("float32")
KIND = np.eye(CLASSES, dtype="float32")[RNG.integers(0, CLASSES, COUNT)]
SIZE = RNG.random((COUNT, 1)).astype("float32")
WEIGHT = RNG.random(COUNT).astype("float32")
TWICE = np.concatenate([SIZE, 1 - SIZE], axis=1)
IN = {"left": LEFT, "right": RIGHT}
OUT = {"kind": KIND, "size": SIZE}


def two_and_two(
    inputs: Callable[[Any, Any], Any] = lambda left, right: [left, right],
    outputs: Callable[[Any, Any], Any] = lambda kind, size: [kind, size],
) -> keras.Model:
    """An image and four numbers in, three classes and one number out, in any structure."""
    keras.utils.set_random_seed(3)
    left, right = keras.Input(SHAPE, name="left"), keras.Input((4,), name="right")
    seen = layers.Conv2D(2, 3, activation="relu", kernel_regularizer="l2")(left)
    both = layers.Concatenate()([layers.Flatten()(seen), layers.Dense(3)(right)])
    kind = layers.Dense(CLASSES, activation="softmax", name="kind")(both)
    size = layers.Dense(1, name="size")(both)
    return keras.Model(inputs(left, right), outputs(kind, size))


def named(a: Any, b: Any) -> dict[str, Any]:
    return {"left": a, "right": b}


def answered(a: Any, b: Any) -> dict[str, Any]:
    return {"kind": a, "size": b}


def prepared(make: Callable[[], Any], ours: bool, **options: Any) -> Any:
    """The model, compiled; ours raises where it would run on Keras' path.

    Keras' operations are compiled one by one, which equal shapes of other tests share; a net of
    shapes that no other has is compiled sooner as a whole, with ``jit_compile=True``.
    """
    model = make()
    if ours:
        convmill.accelerate(model, strict=True)
    options = {"optimizer": lambda: "rmsprop", "jit_compile": False} | options
    model.compile(**options | {"optimizer": options["optimizer"]()})
    return model


def assert_same(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """The same structure, and close numbers."""
    assert type(found) is type(expected)
    keras.tree.assert_same_structure(found, expected)
    for mine, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        assert np.shape(mine) == np.shape(other)
        np.testing.assert_allclose(mine, other, atol=tolerance)


def compare(
    make: Callable[[], Any], x: Any, y: Any, options: dict[str, Any], **arguments: Any
) -> dict[str, Any]:
    """Fit, evaluate, predict and the methods for a batch, ours and Keras'; the history."""
    ours, theirs = (prepared(make, mine, **options) for mine in (True, False))
    arguments = {"epochs": 2} | arguments
    histories = [seeded_fit(model, x, y, **arguments) for model in (ours, theirs)]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)
    for as_dict in (False, True):
        assert_same(
            ours.evaluate(x, y, batch_size=16, verbose=0, return_dict=as_dict),
            theirs.evaluate(x, y, batch_size=16, verbose=0, return_dict=as_dict),
        )
    assert_same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert_same(ours.predict_on_batch(x), theirs.predict_on_batch(x))
    assert_same(ours.test_on_batch(x, y), theirs.test_on_batch(x, y))
    assert_same(
        ours.train_on_batch(x, y, return_dict=True), theirs.train_on_batch(x, y, return_dict=True)
    )
    assert_same_state(ours, theirs)
    history: dict[str, Any] = histories[0].history
    return history


def test_dicts_with_weights_and_metrics_of_each_output() -> None:
    history = compare(
        lambda: two_and_two(named, answered),
        IN,
        OUT,
        {
            "optimizer": lambda: "adam",
            "loss": {"kind": "categorical_crossentropy", "size": "mse"},
            "loss_weights": {"kind": 1.0, "size": 0.3},
            "metrics": {"kind": ["accuracy", "top_k_categorical_accuracy"], "size": ["mae"]},
            "weighted_metrics": {"kind": ["accuracy"]},
            "jit_compile": True,
        },
        validation_split=0.2,
    )
    assert {"loss", "kind_loss", "size_loss", "kind_accuracy", "size_mae"} <= set(history)


LISTED = {
    "loss": ["categorical_crossentropy", "mse"],
    "loss_weights": [0.5, 2.0],
    "metrics": [["accuracy"], None],
}


@pytest.mark.parametrize(
    ("x", "y"), [((LEFT, RIGHT), (KIND, SIZE)), (IN, OUT)], ids=["tuples", "dicts"]
)
def test_lists(x: Any, y: Any) -> None:
    compare(two_and_two, x, y, LISTED, validation_data=(x, y))


@pytest.mark.parametrize(
    ("loss", "metrics", "y"),
    [
        ([None, "mse"], [["accuracy"], ["mae"]], [KIND, SIZE]),
        ([None, "mse"], None, SIZE),
        ({"kind": "categorical_crossentropy"}, None, {"kind": KIND}),
    ],
    ids=["list", "array", "dict"],
)
def test_an_output_without_a_loss(loss: Any, metrics: Any, y: Any) -> None:
    """Its own weights decay, as those of other outputs do."""
    dicts = isinstance(loss, dict)
    compare(
        lambda: two_and_two(named, answered) if dicts else two_and_two(),
        IN,
        y,
        {
            "loss": loss,
            "metrics": metrics,
            "optimizer": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
        },
    )


@pytest.mark.parametrize(
    "weight",
    [WEIGHT, {"kind": WEIGHT, "size": WEIGHT[::-1].copy()}],
    ids=["for all", "each its own"],
)
def test_sample_weights(weight: Any) -> None:
    options = {
        "loss": {"kind": "categorical_crossentropy", "size": "mae"},
        "weighted_metrics": {"kind": ["accuracy"], "size": ["mse"]},
    }
    compare(lambda: two_and_two(named, answered), IN, OUT, options, sample_weight=weight)


def test_sample_weights_in_a_dict_for_outputs_in_a_list() -> None:
    """Keras fails there with a KeyError; what is meant is plain."""
    models = [prepared(two_and_two, ours=True, **LISTED) for _ in range(2)]
    weights = (WEIGHT, WEIGHT[::-1].copy())
    histories = [
        seeded_fit(models[0], IN, [KIND, SIZE], sample_weight=list(weights)),
        seeded_fit(models[1], IN, OUT, sample_weight=answered(*weights)),
    ]
    assert_same_history(*histories, tolerance=0)


def on_flat(write: Callable[[Any, Any], Any]) -> Callable[[], keras.Model]:
    """A dense layer on pixels, and what ``write`` makes of it and the pixels."""

    def make() -> keras.Model:
        keras.utils.set_random_seed(3)
        image = keras.Input(SHAPE, name="image")
        said = layers.Dense(2, name="say")(layers.Flatten()(image))
        return keras.Model(image, write(image, said))

    return make


@pytest.mark.parametrize(
    ("write", "y", "loss"),
    [
        (lambda _, said: [said], TWICE, "mse"),
        (lambda _, said: {"out": said}, {"out": TWICE}, {"out": "mse"}),
        (lambda _, said: [said, said], [TWICE, TWICE[::-1].copy()], ["mse", "mae"]),
        (lambda image, said: (image, said), (LEFT, TWICE), ["mse", "dice"]),
    ],
    ids=["list of one", "dict of one", "one output twice", "an input handed out"],
)
def test_odd_structures(write: Any, y: Any, loss: Any) -> None:
    compare(on_flat(write), LEFT, y, {"loss": loss, "metrics": None}, epochs=1)


def test_structures_in_structures() -> None:
    def make() -> keras.Model:
        keras.utils.set_random_seed(5)
        a, b, c = (keras.Input((4,), name=name) for name in "abc")
        both = layers.Concatenate()([a, b, c])
        one, two, three = (layers.Dense(n, name=f"n{n}")(both) for n in (2, 3, 1))
        return keras.Model([a, [b, c]], {"one": one, "more": [two, three]})

    x, y = [RIGHT, [RIGHT, RIGHT]], {"one": TWICE, "more": [KIND, SIZE]}
    options = {
        "loss": {"one": "mse", "more": ["categorical_crossentropy", "mae"]},
        "metrics": {"one": ["mae"], "more": [["accuracy"], None]},
    }
    compare(make, x, y, options, epochs=1)


def test_a_loss_of_several_outputs_at_once_is_keras_own(capsys: Any) -> None:
    def far(y: Any, predicted: Any) -> Any:
        pairs = zip(keras.tree.flatten(y), keras.tree.flatten(predicted), strict=True)
        return sum(keras.losses.mean_absolute_error(*pair) for pair in pairs)

    image = keras.Input((4,))
    inner = (layers.Dense(1, name="a")(image), layers.Dense(1, name="b")(image))
    made = [keras.Model(image, [inner, layers.Dense(1)(image)]) for _ in range(2)]
    made[1].set_weights(made[0].get_weights())
    convmill.accelerate(made[0])
    for model in made:
        model.compile("sgd", [far, "mse"])
        model.fit(RIGHT, [(SIZE, SIZE), SIZE], batch_size=10, shuffle=False, verbose=0)
    for ours, theirs in zip(made[0].get_weights(), made[1].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "a loss looks at several outputs at once" in capsys.readouterr().err


def test_four_heads() -> None:
    def make() -> keras.Model:
        keras.utils.set_random_seed(5)
        image = keras.Input((6, 10, 1))
        seen = layers.Flatten()(layers.Conv2D(3, 3, activation="relu", name="see")(image))
        heads = [layers.Dense(5, activation="softmax", name=f"digit{n}")(seen) for n in range(4)]
        return keras.Model(image, heads)

    rng = np.random.default_rng(2)
    x, digits = rng.random((COUNT, 6, 10, 1)), rng.integers(0, 5, (COUNT, 4))
    options = {"loss": "sparse_categorical_crossentropy", "metrics": [["accuracy"]] * 4}
    options["jit_compile"] = True
    history = compare(make, x, list(digits.T), options, validation_split=0.2)
    assert len(history) == 2 * (1 + 4 + 4)


def test_a_mask_and_a_class() -> None:
    """An output with a loss at each place, which weigh differently, beside one of one place."""

    def make() -> keras.Model:
        keras.utils.set_random_seed(5)
        image = keras.Input(SHAPE)
        seen = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
        up = layers.UpSampling2D(2)(layers.MaxPooling2D(2)(seen))
        both = layers.Concatenate()([up, seen])
        mask = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(both)
        kind = layers.Dense(CLASSES, activation="softmax", name="kind")
        return keras.Model(image, [mask, kind(layers.GlobalAveragePooling2D()(seen))])

    y = [(LEFT > 0.5).astype("float32"), KIND.argmax(axis=1)]
    places = np.random.default_rng(2).random((COUNT, *SHAPE[:2])).astype("float32")
    options = {
        "loss": ["binary_crossentropy", "sparse_categorical_crossentropy"],
        "metrics": [["accuracy"], ["accuracy"]],
        "weighted_metrics": [["accuracy"], ["accuracy"]],
    }
    compare(make, LEFT, y, options, sample_weight=[places, WEIGHT], epochs=1)


def test_one_layer_hands_out_twice_and_one_input_is_not_read() -> None:
    def make() -> keras.Model:
        keras.utils.set_random_seed(5)
        a, b, c = (keras.Input((4,), name=name) for name in "abc")
        say = layers.Dense(2, name="say")
        return keras.Model([a, b, c], [say(a), say(b)])

    x, y = [RIGHT, RIGHT[::-1].copy(), RIGHT], [TWICE, TWICE]
    compare(make, x, y, {"loss": ["mse", "mae"], "metrics": [["mae"], ["mse"]]}, epochs=1)


# Models inside models ---------------------------------------------------------------------------


def contrastive(y: Any, squares: Any) -> Any:
    """Pairs that belong together draw near, others keep a distance of 1."""
    distance = keras.ops.sqrt(keras.ops.sum(squares, axis=-1, keepdims=True) + 1e-6)
    apart = keras.ops.square(keras.ops.maximum(1 - distance, 0))
    return keras.ops.mean(y * distance**2 + (1 - y) * apart, axis=-1)


@pytest.mark.parametrize("loss", [contrastive, "mae"], ids=["contrastive", "mae"])
def test_a_tower_on_two_images(loss: Any) -> None:
    def make() -> keras.Model:
        keras.utils.set_random_seed(5)
        stack = [
            keras.Input(SHAPE),
            layers.Conv2D(3, 3, activation="relu", kernel_regularizer="l2"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(4),
        ]
        tower = keras.Sequential(stack, name="tower")
        a, b = keras.Input(SHAPE, name="a"), keras.Input(SHAPE, name="b")
        apart = layers.Subtract()([tower(a), tower(b)])
        squares = layers.Multiply(name="squares")([apart, apart])
        return keras.Model([a, b], squares)

    same = (SIZE > 0.5).astype("float32")
    y = same if loss is contrastive else np.repeat(same, 4, axis=1)
    options = {"loss": loss, "jit_compile": True}
    compare(make, [LEFT, LEFT[::-1].copy()], y, options, validation_split=0.25)


def test_a_model_of_several_ends_called_twice() -> None:
    def make() -> keras.Model:
        keras.utils.set_random_seed(5)
        a, b = keras.Input(SHAPE, name="a"), keras.Input((4,), name="b")
        seen = layers.Flatten()(layers.Conv2D(2, 3, name="see")(a))
        inner = keras.Model({"a": a, "b": b}, {"f": seen, "g": layers.Dense(3, name="add")(b)})
        p, q = keras.Input(SHAPE, name="p"), keras.Input((4,), name="q")
        first = inner({"a": p, "b": q})
        second = inner({"b": q, "a": layers.Conv2D(1, 3, padding="same", name="pre")(p)})
        all_of_it = layers.Concatenate()([first["f"], second["f"], first["g"]])
        kind = layers.Dense(CLASSES, activation="softmax", name="kind")(all_of_it)
        return keras.Model([p, q], [kind, second["g"]])

    options = {"loss": ["categorical_crossentropy", "mse"], "metrics": [["accuracy"], None]}
    x, y = [LEFT, RIGHT], [KIND, KIND]
    ours, theirs = (prepared(make, mine, **options) for mine in (True, False))
    histories = [list(seeded_fit(one, x, y).history.values()) for one in (ours, theirs)]
    np.testing.assert_allclose(*histories, atol=2e-5)  # the inner model's name is in the keys
    assert_same_state(ours, theirs)


# Streams and doors ------------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """Three batches in dicts, with weights."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        part = slice(16 * index, 16 * index + 16)
        weight = answered(WEIGHT[part], WEIGHT[part])
        return named(LEFT[part], RIGHT[part]), answered(KIND[part], SIZE[part]), weight


def test_data_sets() -> None:
    options = {
        "loss": {"kind": "categorical_crossentropy", "size": "mse"},
        "weighted_metrics": {"kind": ["accuracy"]},
    }
    ours, theirs = (
        prepared(lambda: two_and_two(named, answered), mine, **options) for mine in (True, False)
    )
    histories = [
        model.fit(Batches(), shuffle=False, verbose=0, validation_data=Batches())
        for model in (ours, theirs)
    ]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)
    assert_same(ours.predict(Batches(), verbose=0), theirs.predict(Batches(), verbose=0))


def test_a_batch_that_only_keras_can_read() -> None:
    def batches() -> Any:
        for index in range(3):
            part = slice(16 * index, 16 * index + 16)
            weight = WEIGHT[part]
            size = TWICE[part] if index == 1 else SIZE[part]  # Keras spreads what is predicted
            yield (LEFT[part], RIGHT[part]), (KIND[part], size), (weight, weight)

    ours, theirs = (prepared(two_and_two, mine, **LISTED) for mine in (True, False))
    convmill.accelerate(ours, strict=False)
    arguments = {"steps_per_epoch": 3, "shuffle": False, "verbose": 0}
    histories = [model.fit(batches(), **arguments) for model in (ours, theirs)]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)


class Diary(keras.callbacks.Callback):
    """Writes down the logs of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: list[dict[str, Any]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.logs.append(dict(logs))

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.logs.append({name: np.asarray(one) for name, one in logs.items()})


@pytest.mark.parametrize("door", ["models", "install"])
def test_callbacks_hear_of_batches_through_the_other_doors(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVMILL_STRICT", "1")
    options = {
        "optimizer": "rmsprop",
        "loss": {"kind": "categorical_crossentropy", "size": "mse"},
        "metrics": {"kind": ["accuracy"], "size": ["mae"]},
        "jit_compile": False,
    }
    diaries = []
    for ours in (False, True):
        if ours and door == "install":
            convmill.install()
        try:
            model = two_and_two(named, answered)
            if ours and door == "models":
                model = convmill.models.Model(model.input, model.output)
            model.compile(**options)
            diaries.append(Diary())
            seeded_fit(model, IN, OUT, callbacks=[diaries[-1]])
            model.predict(IN, batch_size=16, verbose=0, callbacks=[diaries[-1]])
        finally:
            convmill.uninstall()
    found, expected = diaries[1].logs, diaries[0].logs
    for mine, other in zip(found, expected, strict=True):
        assert set(mine) == set(other)
        for name, value in other.items():
            np.testing.assert_allclose(mine[name], value, atol=2e-5, err_msg=name)


# What makes no sense ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "arguments", "message"),
    [
        ([LEFT], [KIND, SIZE], {}, "x must be a list of 2 .*'left', 'right'.*a list of 1"),
        (LEFT, [KIND, SIZE], {}, r"x must be .*one array of shape \(40, 6, 6, 1\)"),
        ({"left": LEFT}, [KIND, SIZE], {}, "x must be .*Received: a dict with 'left'"),
        (IN, [KIND], {}, "y must be a list of 2 .*'kind', 'size'.*a list of 1"),
        (IN, {"kind": KIND}, {}, "y must be .*a dict with 'kind'"),
        (IN, [KIND, None], {}, r"y\['size'\], the targets, is missing"),
        (IN, [SIZE, KIND], {}, r"y\['kind'\] for the loss .* \(n, 3\).*\(40, 1\)"),
        ([RIGHT, LEFT], OUT, {}, r"x\['left'\] must have the shape .*\(n, 6, 6, 1\)"),
        ([LEFT, RIGHT[:3]], OUT, {}, r"same number of samples.*x\['right'\] of length 3"),
        (IN, OUT, {"class_weight": {0: 2.0}}, "class_weight is for models with one output"),
        (IN, OUT, {"sample_weight": [WEIGHT]}, "sample_weight must be a list of 2"),
    ],
)
def test_data_that_do_not_fit(x: Any, y: Any, arguments: dict[str, Any], message: str) -> None:
    model = prepared(two_and_two, ours=True, **LISTED)
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0, **arguments)


def test_a_metric_without_targets() -> None:
    options = {"loss": [None, "mse"], "metrics": [["accuracy"], None]}
    model = prepared(two_and_two, ours=True, **options)
    with pytest.raises(ValueError, match=r"y\['kind'\], at which a metric looks, is missing"):
        model.fit(IN, SIZE, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": {"kind": "mse"}}, "loss and loss_weights must .*'kind', 'size'.*{'kind': 'mse'}"),
        ({"loss": ["mse"] * 3}, "loss and loss_weights must .*loss=.'mse', 'mse', 'mse'"),
        ({"loss": ["mse", "mse"], "loss_weights": [1.0]}, r"loss_weights=\[1.0\]"),
        ({"loss": ["mse", "mse"], "loss_weights": [1.0, np.nan]}, "loss_weights must be a finite"),
        ({"loss": "mse", "metrics": ["mae"]}, r"metrics and .*'kind', 'size'.*metrics=\['mae'\]"),
    ],
)
def test_what_compile_was_given_does_not_fit(options: dict[str, Any], message: str) -> None:
    model = prepared(two_and_two, ours=True, **options)
    with pytest.raises(ValueError, match=message):
        model.fit(IN, OUT, verbose=0)
