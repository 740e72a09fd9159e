"""Before the first step: the model built, bound to a Program, and its data checked.

All that may turn out not to be covered is found here, so that Keras can still take over with
nothing changed but what Keras would build itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from convmill.plan.graph import NotCovered
from convmill.train import attach
from convmill.train import recipe as recipes
from convmill.train.arguments import optional_whole
from convmill.train.arrays import Given, Names, Samples, prepare, take
from convmill.train.bound import Bound
from convmill.train.feed import ArrayFeed, StreamFeed

Feeds = ArrayFeed | StreamFeed


class Preparation:
    """Binds one model for one call; makes the feeds of that call.

    ``arguments`` are the call's: a stream in them gives way to Keras' adapter around it, so that
    what was looked at is not lost to Keras if it takes over.
    """

    def __init__(self, model: Any, arguments: dict[str, Any], training: bool = True) -> None:
        self.model = model
        self.arguments = arguments
        self.training = training
        self.bound: Bound | None = None
        self.names = Names()
        self.was_built = attach.training_built(model) if training else True
        if attach.layers_built(model):
            self.bind()

    def bind(self) -> Bound:
        """Reads the model, whose layers are built by now."""
        if self.bound is None:
            check_class(self.model, self.training)
            self.bound = Bound(self.model, self.training)
            self.names = _names(self.model)
            if self.training:
                recipes.rates(self.model.optimizer, 1)
        return self.bound

    def feed(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: Any = None,
        steps: Any = None,
        steps_name: str = "steps",
        shuffle: Any = False,
        class_weight: Mapping[int, float] | None = None,
        argument: str = "x",
    ) -> Feeds:
        """The feed for data as fit, evaluate and predict take them; checks arrays at once.

        ``argument`` names the argument in which a stream's adapter is left for Keras.
        """
        together = int(self.model.steps_per_execution)
        size = optional_whole("batch_size", batch_size, 1)
        count = optional_whole(steps_name, steps, 1)
        if is_stream(x):
            adapter = attach.adapt(x, y, sample_weight, class_weight, shuffle)
            self.arguments[argument] = adapter
            stream = StreamFeed(
                adapter, self.samples, names=self.names, steps=count, together=together
            )
            self.look(stream)
            return stream
        given = take(x, y, sample_weight, self.names)

        def samples(part: Given) -> Samples:
            return self.samples(part, class_weight)

        arrays = ArrayFeed(
            given, samples, batch_size=size, steps=count, shuffle=shuffle, together=together
        )
        self.build(arrays)
        arrays.check()
        return arrays

    def look(self, stream: StreamFeed) -> None:
        """Checks a stream's first batch, while Keras can still take over.

        Where Keras would not have looked, the random generators are left as they were: a
        ``PyDataset`` is shuffled for each look.
        """
        keras_looks = self.training and not attach.training_built(self.model)
        states = random.getstate(), np.random.get_state()
        _first(stream)
        if not keras_looks:
            random.setstate(states[0])
            np.random.set_state(states[1])
        self.build(stream)
        stream.check()

    def samples(self, given: Given, class_weight: Mapping[int, float] | None = None) -> Samples:
        """Arrays checked for this model."""
        bound = self.bind()
        loss = bound.recipe.loss if bound.recipe is not None else None
        return prepare(given, bound.graph, loss, class_weight)

    def build(self, feed: Feeds) -> None:
        """Builds layers that are not built, on the feed's first batch, and binds the model."""
        if self.bound is not None:
            return
        attach.build_layers(self.model, _first(feed).x)
        self.bind()
        if isinstance(feed, StreamFeed):
            feed.names = self.names

    def build_training(self, feed: Feeds) -> None:
        """Builds loss, metrics and optimizer on the first batch, and draws as Keras then does."""
        if attach.training_built(self.model):
            if not self.was_built:
                feed.as_keras_built()
        else:
            checked = self.samples(_first(feed))
            attach.build_training(self.model, (checked.x, checked.given, checked.weight))
            feed.as_keras_built()


def _first(feed: Feeds) -> Given:
    first = feed.first()
    if first is None:
        raise ValueError("x gave no batch at all. Received: an empty stream of batches")
    return first


def check_class(model: Any, training: bool) -> None:
    """NotCovered where the model's training is its own affair, or Keras spreads it out."""
    own = attach.own_steps(model, training)
    if own:
        raise NotCovered(
            f"{type(model).__name__} defines its own {', '.join(own)}",
            "leave the training step to Keras",
        )
    if model.run_eagerly:
        raise NotCovered("run_eagerly=True", "compile the model without run_eagerly")
    if keras.distribution.distribution() is not None:
        raise NotCovered(
            "keras.distribution is active", "call keras.distribution.set_distribution(None)"
        )
    if training and attach.loss_weights(model) is not None:
        raise NotCovered(f"loss_weights={attach.loss_weights(model)!r}", "leave loss_weights out")
    if training and attach.other_metrics(model):
        raise NotCovered(
            "the model or a layer of it keeps metrics of its own",
            "name metrics in compile alone",
        )
    if isinstance(attach.output_structure(model), dict):
        raise NotCovered("outputs in a dict", "let the model return its one output itself")


def is_stream(x: Any) -> bool:
    """Whether ``x`` gives batches, and is not an array."""
    if attach.is_adapter(x):
        return True
    if isinstance(x, list | tuple | dict) or x is None:
        return False
    return not attach.is_array_data(x)


def _names(model: Any) -> Names:
    inputs = tuple(tensor.name for tensor in getattr(model, "inputs", None) or ())
    return Names(inputs, tuple(getattr(model, "output_names", None) or ()))
