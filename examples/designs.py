"""Convnets for MNIST to lay side by side: pooled or not, padded, strided.

    convmill inspect examples/designs.py:notebook --compare examples/designs.py:unpooled
"""

from convmill import layers, models

Shape = tuple[int, int, int]


def notebook(input_shape: Shape = (28, 28, 1), classes: int = 10) -> models.Sequential:
    """Pooling doubles the distance between neighbouring units, and so what later windows add."""
    model = models.Sequential(name="notebook")
    model.add(layers.Input(input_shape))
    model.add(layers.Conv2D(32, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(classes, activation="softmax"))
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def unpooled(input_shape: Shape = (28, 28, 1)) -> models.Sequential:
    """The same convolutions, nothing pooled between them."""
    model = models.Sequential(name="unpooled")
    model.add(layers.Input(input_shape))
    model.add(layers.Conv2D(32, (3, 3), activation="relu"))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    return model


def padded(input_shape: Shape = (28, 28, 1)) -> models.Sequential:
    """The same convolutions, whose maps stay as large as the image."""
    return _convolutions("padded", input_shape, strides=1)


def strided(input_shape: Shape = (28, 28, 1)) -> models.Sequential:
    """The same convolutions, whose windows move by two pixels."""
    return _convolutions("strided", input_shape, strides=2)


def _convolutions(name: str, input_shape: Shape, strides: int) -> models.Sequential:
    model = models.Sequential(name=name)
    model.add(layers.Input(input_shape))
    for filters in (32, 64, 64):
        model.add(layers.Conv2D(filters, (3, 3), strides, padding="same", activation="relu"))
    return model
