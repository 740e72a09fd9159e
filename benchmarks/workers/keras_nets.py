"""A net of the benchmark as a Keras model."""

import keras
from keras import layers

from benchmarks.nets import (
    Act,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Depthwise,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Net,
    Residual,
)

OPTIMIZERS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}


def _layer(layer: Layer) -> keras.Layer:
    match layer:
        case Conv():
            return layers.Conv2D(
                layer.filters,
                layer.kernel,
                layer.stride,
                padding=layer.padding,
                activation=layer.activation,
            )
        case Depthwise():
            return layers.DepthwiseConv2D(layer.kernel, layer.stride, padding=layer.padding)
        case BatchNorm():
            return layers.BatchNormalization()
        case Act():
            return layers.Activation(layer.activation)
        case MaxPool():
            return layers.MaxPooling2D(layer.size)
        case AveragePool():
            return layers.AveragePooling2D(layer.size)
        case GlobalAveragePool():
            return layers.GlobalAveragePooling2D()
        case Flatten():
            return layers.Flatten()
        case Dropout():
            return layers.Dropout(layer.rate)
        case Dense():
            return layers.Dense(layer.units, activation=layer.activation)
    raise TypeError(f"no Keras layer for {layer!r}")


def _chain(chain: tuple[Layer, ...], x: keras.KerasTensor) -> keras.KerasTensor:
    for layer in chain:
        if isinstance(layer, Residual):
            x = layers.Add()([_chain(layer.body, x), _chain(layer.shortcut, x)])
            x = layers.Activation("relu")(x)
        else:
            x = _layer(layer)(x)
    return x


def build(net: Net) -> keras.Model:
    """The uncompiled model: Sequential where the net is a chain, functional where it branches."""
    if not any(isinstance(layer, Residual) for layer in net.layers):
        return keras.Sequential(
            [keras.Input(net.input_shape), *map(_layer, net.layers)], name="benchmark"
        )
    x = keras.Input(net.input_shape)
    return keras.Model(x, _chain(net.layers, x), name="benchmark")


def optimizer(net: Net) -> keras.optimizers.Optimizer:
    """The net's optimizer with Keras' own defaults for all but the learning rate."""
    return OPTIMIZERS[net.optimizer](learning_rate=net.learning_rate)
