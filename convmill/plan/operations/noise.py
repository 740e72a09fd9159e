"""What changes values in training alone: dropout, noise, images that are augmented."""

from __future__ import annotations

from keras import layers

from convmill.plan.graph import LINEAR, Activate, Dropout, Noise, Operation
from convmill.plan.operations.parameters import Parameters
from convmill.plan.walk import Call


def _dropout(call: Call, parameters: Parameters) -> Operation:
    if call.layer.rate == 0:  # does nothing, and Keras gives it no seed
        return Activate(LINEAR)
    return Dropout(float(call.layer.rate), parameters.dropout(call.layer))


def _noise(call: Call, parameters: Parameters) -> Operation:
    return Noise(operations=1)


def _augmentation(call: Call, parameters: Parameters) -> Operation:
    return Noise(operations=0)


TABLE = {
    layers.Dropout: _dropout,
    layers.SpatialDropout1D: _noise,
    layers.SpatialDropout2D: _noise,
    layers.SpatialDropout3D: _noise,
    layers.GaussianNoise: _noise,
    layers.GaussianDropout: _noise,
    layers.AlphaDropout: _noise,
    layers.RandomFlip: _augmentation,
    layers.RandomRotation: _augmentation,
    layers.RandomTranslation: _augmentation,
    layers.RandomZoom: _augmentation,
    layers.RandomContrast: _augmentation,
    layers.RandomBrightness: _augmentation,
}
