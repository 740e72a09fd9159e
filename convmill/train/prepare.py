"""Before the first step: the model built, bound to a Program, and its data checked.

All that may turn out not to be covered is found here, so that Keras can still take over with
nothing changed but what Keras would build itself. Only the batches of streams are not looked at
before Keras would: it reads one to build a model, and all others behind the hooks of their steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import keras

from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.shapes import Sizes
from convmill.plan.read import ends
from convmill.plan.refusals import NotCovered
from convmill.plan.written import own_call
from convmill.train import check
from convmill.train.arguments import batches, optional_whole
from convmill.train.arrays import Given, Interface, take
from convmill.train.attach import methods
from convmill.train.attach.batches import adapt, is_adapter, is_array_data
from convmill.train.attach.building import (
    build_layers,
    build_on,
    build_training,
    layers_built,
    training_built,
)
from convmill.train.attach.compiled import asked_losses, metrics_of_calls
from convmill.train.bound import Bound
from convmill.train.compilation.rates import learning_rates
from convmill.train.fallback import remark
from convmill.train.feed import ArrayFeed, BadBatch, StreamFeed
from convmill.train.reading import read_model
from convmill.train.samples import Arrays, Samples, Target, prepare, samples
from convmill.train.session import session
from convmill.train.sizes import Open, open_shapes, sizes_called, sizes_of, tried
from convmill.whole import check_whole

if TYPE_CHECKING:
    from convmill.runtime.program import Kind

Feeds = ArrayFeed | StreamFeed


class Preparation:
    """Binds one model for one call; makes the feeds of that call.

    ``arguments`` are the call's: a stream in them gives way to Keras' adapter around it, so that
    what was read to build the model is not lost to Keras if it takes over.
    """

    def __init__(self, model: Any, arguments: dict[str, Any], training: bool = True) -> None:
        self.model = model
        # Keras looks at it in calls of one batch too, and else raises words of Python's own.
        self._together = check_whole("steps_per_execution", model.steps_per_execution, 1)
        self.arguments = arguments
        self.training = training
        self.bound: Bound | None = None
        self._called: Graph | None = None  # for which a model with a call of its own was built
        self._seen = False  # whether there were images
        built = training_built(model) if training else layers_built(model)
        self.keras_looks = not built  # whether Keras would read a batch to build the model
        self.open = open_shapes(model) if layers_built(model) else None
        if layers_built(model) and self.open is None:
            self.bind()

    def bind(self, sizes: Sizes | None = None) -> Bound:
        """Reads the model, whose layers are built by now; one that leaves ``sizes`` open for those
        that are given, or for any that go."""
        if self.bound is None:
            if self.open is not None and sizes is None:
                sizes = self._any_sizes(self.open)
            try:
                check_class(self.model, self.training)
            except NotCovered:
                # what is in the way there too is said first
                read_model(self.model, training=False, sizes=sizes)
                raise
            self.bound = Bound(self.model, self.training, sizes)
            self._called = None if own_call(self.model) is None else self.bound.graph
            for note in self.bound.reading.notes:
                remark(session(self.model), note, self.model)
            if self.bound.recipe is not None and not self.bound.recipe.optimizer.bridged:
                learning_rates(self.model.optimizer, 1)
        return self.bound

    def _any_sizes(self, shapes: Open) -> Sizes:
        """The sizes of the images seen last; before there are any, such that the model is read."""
        last = session(self.model).sizes
        gap: Exception | None = None
        for sizes in tried(shapes) if last is None else [last]:
            try:
                read_model(self.model, self.training, sizes)
                return sizes
            except (NotCovered, ValueError) as error:  # too small for its layers, say
                gap = error
        assert gap is not None
        raise gap

    def sizes(self, given: Given) -> Sizes | None:
        """For which sizes the model is read to work on arrays; None where it takes one alone."""
        if self.open is not None:
            return sizes_of(given.x, self.open)
        return None if self._called is None else sizes_called(given.x, self._called)

    @property
    def interface(self) -> Interface:
        """How the model takes x, y and weights; before its layers are built one array each."""
        if self.open is not None and own_call(self.model) is not None:
            self.bind()
        if self.bound is None and self.open is not None:
            inputs, outputs = ends(self.model)
            losses = asked_losses(self.model, outputs) if self.training else []
            return Interface(inputs, outputs, tuple(sorted({one.output for one in losses})))
        if self.bound is None:
            return Interface()
        recipe, reading = self.bound.recipe, self.bound.reading
        asked = () if recipe is None else recipe.asked
        return Interface(reading.inputs, reading.outputs, asked)

    def compile(self, *kinds: Kind) -> Bound:
        """The model bound, with native code for what is about to run: what cannot be compiled is
        found out while Keras can still take over."""
        bound = self.bind()
        for kind in kinds:
            bound.program.code(kind)
        return bound

    def build_layers(self, x: Any) -> None:
        """Builds layers that are not built, for images like ``x``, and binds the model."""
        first = not self._seen
        self._seen = True
        if self.bound is None:
            build_layers(self.model, x)
        if self.bound is None or (first and own_call(self.model) is not None):
            sizes = None
            if self.open is not None or self.bound is not None:
                sizes = self.sizes(Given(tuple(self.interface.inputs.flat(x))))
            self.bind(sizes).resize(sizes)

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
    ) -> Feeds:
        """The feed for the data that fit, evaluate or predict run through.

        On a stream's first batch the model is built, where Keras would do that.
        """
        size = optional_whole("batch_size", batch_size, 1)
        count = optional_whole(steps_name, steps, 1)
        if not is_stream(x):
            return self.arrays(
                x, y, sample_weight, size, count, shuffle=shuffle, class_weight=class_weight
            )
        batches("x", x)
        if isinstance(class_weight, Mapping):
            check.warn_of_keys(class_weight)
        adapter = adapt(x, y, sample_weight, class_weight, shuffle)
        self.arguments["x"] = adapter
        stream = self.stream(adapter, count)
        if self.keras_looks:
            self._look(stream)
        return stream

    def arrays(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int | None,
        steps: int | None,
        *,
        shuffle: Any = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> ArrayFeed:
        """The feed for arrays, which are checked at once."""
        unknown = self.bound is None and self.open is None
        if unknown and len(keras.tree.flatten(x)) > 1 and is_array_data(x):
            self.build_layers(x)  # how many inputs a model of its own class has is known then
        given = self.take(x, y, sample_weight)
        self.build_layers(self.interface.inputs.pack(given.x))
        target = partial(self.target, self.sizes(given))
        arrays = Arrays(given, target, class_weight)
        self._try_losses(samples(arrays.given.part(0, 1), target()), target().graph)
        return ArrayFeed(
            arrays,
            batch_size=batch_size,
            steps=steps,
            shuffle=shuffle,
            together=self._together,
        )

    def stream(self, adapter: Any, steps: int | None) -> StreamFeed:
        """The feed for the batches of one of Keras' data adapters."""
        return StreamFeed(
            adapter, self.samples, self.take, self.pack, steps=steps, together=self._together
        )

    def take(self, x: Any, y: Any, sample_weight: Any) -> Given:
        """The arrays in a batch."""
        return take(x, y, sample_weight, self.interface)

    def pack(self, given: Given) -> tuple[Any, Any, Any]:
        """x, y and weights as the model takes them."""
        return self.interface.pack(given)

    def target(self, sizes: Sizes | None) -> Target:
        """What arrays of ``sizes`` must fit; a callback may have compiled the model anew."""
        bound = self.bind(sizes)
        graph, recipe = bound.graph, bound.recipe
        if sizes != bound.sizes:
            found = read_model(self.model, self.training, sizes)
            graph, recipe = found.reading.graph, found.recipe
        if recipe is None:
            return Target(graph, self.interface, None, sizes)
        losses = tuple(None if goal is None else goal.loss for goal in recipe.goals)
        return Target(graph, self.interface, losses, sizes)

    def samples(self, given: Given, class_weight: Mapping[int, float] | None = None) -> Samples:
        """Arrays checked for this model."""
        target = self.target(self.sizes(given))
        found = prepare(given, target, class_weight)
        self._try_losses(found, target.graph)
        return found

    def _try_losses(self, found: Samples, graph: Graph) -> None:
        """Tries losses that Keras computes. NotCovered where one wants more than predictions."""
        for output, loss in self.bind().losses.items():
            if found.given is not None:
                loss.check(self.model, found, graph.node(graph.outputs[output]).shape)

    def _look(self, stream: StreamFeed) -> None:
        """Builds the model on a stream's first batch, which Keras reads for that too.

        What it shows not to be covered raises NotCovered once the model is built: so Keras, which
        then takes over, reads no other batch to build it.
        """
        batch = stream.look()
        gap: NotCovered | None = None
        try:
            given = self.take(*batch)
            self.build_layers(self.interface.inputs.pack(given.x))
            self.samples(given)
        except NotCovered as found:
            gap = found
        except ValueError as error:
            raise BadBatch(0, error) from error
        if self.training:
            build_training(self.model, batch)
        else:
            if not layers_built(self.model):
                build_layers(self.model, batch[0])
            stream.reset()
        if gap is not None:
            raise gap

    def build_training(self, feed: Feeds) -> None:
        """Builds loss, metrics and optimizer on the first images, and draws as Keras then does.

        Nothing to do where they are built: by Keras, or on a stream's first batch.
        """
        if not (self.keras_looks and isinstance(feed, ArrayFeed)):
            return
        if not training_built(self.model):
            samples = self.samples(feed.first())
            build_on(self.model, self.interface, samples.seen)
        feed.look()


def check_class(model: Any, training: bool) -> None:
    """NotCovered where the model's training is its own affair, or Keras spreads it out."""
    own = methods.own_steps(model, training)
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
    if training and metrics_of_calls(model):
        raise NotCovered(
            "a layer of the model keeps metrics of its own", "name metrics in compile alone"
        )


def is_stream(x: Any) -> bool:
    """Whether ``x`` gives batches, and is not an array."""
    if is_adapter(x):
        return True
    if isinstance(x, list | tuple | dict) or x is None:
        return False
    return not is_array_data(x)
