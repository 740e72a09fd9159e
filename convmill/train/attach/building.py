"""What is built before a model runs: its layers, and what training measures."""

from __future__ import annotations

from typing import Any

import keras
from keras.src import backend

from convmill.train.arrays import Given, Interface
from convmill.train.attach.compiled import asked_metrics
from convmill.train.turns import Turn


def layers_built(model: Any) -> bool:
    """Whether every layer of the model has its weights."""
    return all(layer.built for layer in model._flatten_layers())


def build_layers(model: Any, x: Any) -> None:
    """Builds the layers of a model for images like ``x``, (batch, ...); reads shapes alone."""

    def symbol(array: Any) -> Any:
        return backend.KerasTensor(array.shape, backend.standardize_dtype(array.dtype))

    with _building(model):
        if not layers_built(model):
            symbols = keras.tree.map_structure(symbol, x)
            backend.compute_output_spec(model, symbols, training=False)


def _building(model: Any) -> Turn:
    """A turn for what is built: two threads' first calls build it once."""
    return Turn(frozenset({id(model), id(getattr(model, "optimizer", None))}))


def training_built(model: Any) -> bool:
    """Whether nothing of the layers, the metrics and the loss is still to be built."""
    return layers_built(model) and measures_built(model)


def measures_built(model: Any) -> bool:
    """Whether nothing of the metrics and the loss is: a layer that no call reads is never built."""
    metrics, loss = model._compile_metrics, model._compile_loss
    return (metrics is None or metrics.built) and (loss is None or loss.built)


def build_training(model: Any, batch: tuple[Any, ...]) -> None:
    """Builds what is not built yet, as Keras does at the first batch (x, y, sample_weight)."""
    with _building(model):
        if not training_built(model):
            model._symbolic_build(data_batch=batch)


def build_on(model: Any, interface: Interface, given: Given) -> None:
    """Builds on arrays what training asks for. ValueError where a metric finds no targets."""
    if not training_built(model):
        numbers = (asked.output for asked in asked_metrics(model, interface.outputs))
        given.check_targets(numbers, interface.outputs)
    build_training(model, interface.pack(given))
