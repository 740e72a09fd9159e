"""A Program: a Graph as native code, with its weights and slots, ready to train and to predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from convmill.lower.launches import live_lists
from convmill.lower.machine import Machine
from convmill.lower.network import Network
from convmill.lower.passes import Chooser, lower
from convmill.lower.stages import ConvolutionStage
from convmill.lower.text import graph_text, network_text
from convmill.plan.graph.nodes import Graph
from convmill.plan.recipe import Optimizer, Recipe
from convmill.runtime import contexts, debug, host, jit, remembered, workers
from convmill.runtime.batches import (
    Batches,
    Measured,
    Several,
    check,
    check_images,
    in_order,
    penalties_of,
    room,
    seeds_of,
    zeros_like,
)
from convmill.runtime.bridge import Bridge, Crossing
from convmill.runtime.factors import factors_of
from convmill.runtime.jit import Compiled
from convmill.runtime.memory import Context
from convmill.runtime.records import Held
from convmill.runtime.repeat import Prediction, TrainingStep
from convmill.runtime.weights import Weights
from convmill.runtime.work import Run, work_of

__all__ = ["Batches", "Kind", "Measured", "Program", "Stop", "Watch"]

PREDICT_BATCH = 4096
Watch = Callable[[Measured], None]
Stop = Callable[[], bool]
Kind = Literal["training", "inference"]


class Program:
    """Weights, optimizer slots and native code of one net.

    Native code is built when it is first needed, for training and for inference apart, and shared
    by all Programs of a process that are alike. Two Programs never share memory that is written;
    one Program serves one thread at a time. ``guard`` is for tests: bytes behind each buffer that
    must stay as they are. The ``chooser`` decides how stages are computed; ``timed`` code counts
    what each launch takes (``stopwatch.py``).
    """

    def __init__(
        self,
        graph: Graph,
        recipe: Recipe | None = None,
        *,
        threads: int | None = None,
        machine: Machine | None = None,
        guard: int = 0,
        chooser: Chooser = remembered.chooser,
        timed: bool = False,
    ) -> None:
        self.graph, self.recipe = graph, recipe
        self.threads = host.thread_count(threads)
        self.machine = machine or host.machine()
        self.guard, self._timed = guard, timed
        self.network = lower(graph, recipe, self.machine, chooser=chooser)
        self._work = work_of(graph)
        debug.show(debug.GRAPH, "graph", lambda: graph_text(graph))
        debug.show(debug.STAGES, "stages and choices", lambda: network_text(self.network))
        inference = self.network
        if self.network.normalizations or graph.inference:  # else nothing to fold, or other sizes
            inference = lower(graph, recipe, self.machine, training=False, chooser=chooser)
        self.networks: dict[Kind, Network] = {"training": self.network, "inference": inference}
        names = [one.name for one in graph.parameters]
        self._weights = Weights(self.network, inference, names)
        self._memory: dict[Kind, Held] = {kind: Held() for kind in get_args(Kind)}
        self._codes: dict[Kind, Compiled] = {}
        self._last: Context | None = None  # the last run's
        self._trained: Context | int = 0  # the last training run's, or the steps before any

    @property
    def finished(self) -> int:
        """Steps (in inference images) of the last run, of a stopped one or one that still runs."""
        return 0 if self._last is None else self._last["finished"]

    @property
    def iterations(self) -> int:
        """The optimizer's steps that weights and slots have seen: what was set, or was given to
        the last run of training, and the steps since."""
        last = self._trained
        return last if isinstance(last, int) else last["iterations"] + last["finished"]

    @iterations.setter
    def iterations(self, steps: int) -> None:
        self._trained = steps

    def set_parameters(self, values: Sequence[np.ndarray | None]) -> None:
        """Take weights in Keras' layout, in the order of ``graph.parameters``; None stays."""
        self._weights.set_parameters(values)

    def get_parameters(self) -> list[np.ndarray]:
        """Copies of all weights in Keras' layout."""
        return self._weights.get_parameters()

    def get_gradients(self) -> list[np.ndarray]:
        """Gradients of the last step by trainable parameter, those of regularizers only where the
        recipe's optimizer is bridged."""
        return self._weights.get_gradients()

    def set_slots(self, values: Mapping[str, Sequence[np.ndarray | None]]) -> None:
        """Take the optimizer's state: for each slot name one array per trainable parameter; None
        stays."""
        self._weights.set_slots(values)

    def get_slots(self) -> dict[str, list[np.ndarray]]:
        """Copies of the optimizer's state."""
        return self._weights.get_slots()

    def train(
        self,
        batches: Batches,
        rates: np.ndarray,
        *,
        iterations: int = 0,
        product: float | None = None,
        seeds: np.ndarray | None = None,
        outputs: Several | None = None,
        bridge: Bridge | None = None,
        watch: Watch | None = None,
        stop: Stop | None = None,
    ) -> Measured:
        """One step for each batch; ``rates`` holds the learning rate of each.

        ``iterations`` counts the optimizer's steps before (Adam's bias corrections, dropout), and
        ``product`` is what Nadam has kept of them (``factors_of``); ``seeds`` uint64 has one seed
        per dropout layer; ``outputs`` float32 (m, outputs), or a sequence of them, receives the
        predictions of the training pass. ``watch`` is called some twenty times a second and at the
        end; what it raises stops the threads behind the step they are in, and goes on. ``stop`` is
        asked as often: once it says true, the run ends behind the step it is in, and the measured
        tells how many there were. A run that takes a few hundredths of a second is not
        looked at before its end. ``bridge`` computes the losses that the recipe leaves outside;
        what it raises ends the run in front of that step's update, and goes on. Raises ValueError
        for arrays of other shapes or dtypes than these.
        """
        count = len(batches.order)
        context = self._context(batches, outputs)
        steps = -(-count // batches.batch_size)
        native = self.recipe is not None and set(self.recipe.asked) - set(self.recipe.bridged)
        if self.recipe is None or (batches.y is None and native):
            raise ValueError("training needs a recipe and labels")
        if np.shape(rates) != (steps,):
            raise ValueError(f"`rates` must be of shape ({steps},). Received: {np.shape(rates)}")
        context["batch_size"] = batches.batch_size
        size = min(batches.batch_size, count)
        run = self._work.training_run(count, steps, self.threads)
        self._hold_images(context, "training", size, run.threads, self._memory["training"])
        context["hyper"] = factors_of(self.recipe.optimizer, rates, iterations, product)
        context["seeds"] = seeds_of(seeds, self.graph)
        penalties = contexts.hold_updates(context, self.network, self._weights, steps)
        context["iterations"], context["steps"] = iterations, steps
        losses, correct, activities = contexts.hold_measurements(context, self.graph, count)

        def measured() -> Measured:
            done = context["finished"]
            read = min(done * batches.batch_size, count)
            penalty = penalties[:done].sum(axis=1, dtype=np.float64)
            penalty += penalties_of(activities[:, :read], batches.batch_size, self.graph)
            return Measured(losses[:, :read], correct[:, :read], penalty, done)

        crossing = Crossing(context, self.graph, self.recipe, bridge, batches.batch_size, losses)
        self._trained = context
        result = self._run("training", context, run, measured, watch, stop)
        crossing.check()
        return result

    def evaluate(
        self,
        batches: Batches,
        *,
        seeds: np.ndarray | None = None,
        outputs: Several | None = None,
        watch: Watch | None = None,
        stop: Stop | None = None,
    ) -> Measured:
        """Losses (where there are labels), and predictions into ``outputs``; nothing is trained.
        ``seeds`` as in ``train``, for layers that draw outside it as well."""
        count = len(batches.order)
        context = self._context(batches, outputs)
        context["seeds"] = seeds_of(seeds, self.graph)
        context["batch_size"], context["steps"] = count, 1  # all images are one batch
        run = self._work.inference_run(count, self.threads)
        self._hold_images(context, "inference", count, run.threads, self._memory["inference"])
        losses, correct, activities = contexts.hold_measurements(context, self.graph, count)
        steps = -(-count // batches.batch_size)

        def measured() -> Measured:
            read = context["finished"]
            done = steps if read >= count else read // batches.batch_size
            # Groups finish in any order: until the end only their number is certain.
            shown = count if done == steps else 0
            penalty = penalties_of(activities, batches.batch_size, self.graph)[:done]
            return Measured(losses[:, :shown], correct[:, :shown], penalty, done)

        return self._run("inference", context, run, measured, watch, stop)

    def predict(
        self, x: Several, *, batch_size: int | None = None, watch: Watch | None = None
    ) -> np.ndarray:
        """The first output of the net, float32 (n, *output shape)."""
        return self.predict_all(x, batch_size=batch_size, watch=watch)[0]

    def predict_all(
        self, x: Several, *, batch_size: int | None = None, watch: Watch | None = None
    ) -> list[np.ndarray]:
        """All outputs of the net, float32 (n, *output shape) each."""
        inputs = tuple(one for one in in_order(x) if one is not None)
        check_images(inputs, self.graph)
        count = len(inputs[0])
        outputs = room(count, self.graph)
        if count:
            order = np.arange(count, dtype=np.int64)
            batches = Batches(inputs, order, batch_size or PREDICT_BATCH)
            self.evaluate(batches, outputs=outputs, watch=watch)
        return outputs

    def prediction(self, x: Several) -> Prediction | None:
        """Predictions for arrays like these, again and again; None where they are work for several
        threads, or so much that somebody should look at it."""
        given = tuple(one for one in in_order(x) if one is not None)
        count = len(given[0])
        run = self._work.inference_run(count, self.threads)
        if run.threads > 1 or not run.short or any(self.graph.draws_always):
            return None
        inputs = tuple(np.zeros(one.shape, one.dtype) for one in given)
        batches = Batches(inputs, np.arange(count, dtype=np.int64), count)
        outputs = room(count, self.graph)
        context = self._context(batches, outputs)
        context["batch_size"], context["steps"], context["threads"] = count, 1, 1
        self._hold_images(context, "inference", count, 1, Held())
        contexts.hold_measurements(context, self.graph, count)
        return Prediction(self.code("inference"), context, self._weights, inputs, outputs)

    def training_step(self, batch: Batches) -> TrainingStep | None:
        """A step of training on all of a batch like this one, again and again; None where that is
        work for several threads, or so much that somebody should look at it."""
        count, recipe = len(batch.order), self.recipe
        run = self._work.training_run(count, 1, self.threads)
        if run.threads > 1 or not run.short or recipe is None or recipe.bridged:
            return None
        own = zeros_like(batch)
        context = self._context(own, None)
        context["batch_size"], context["steps"], context["threads"] = count, 1, 1
        self._hold_images(context, "training", count, 1, Held())
        context["hyper"] = factors_of(recipe.optimizer, np.zeros(1), 0)
        context["seeds"] = seeds_of(None, self.graph)
        contexts.hold_updates(context, self.network, self._weights, 1)
        contexts.hold_measurements(context, self.graph, count)
        code = self.code("training")
        return TrainingStep(code, context, self._weights, own, self.graph, recipe.optimizer)

    def train_again(
        self, step: TrainingStep, batch: Batches, rate: float, iterations: int, seeds: np.ndarray
    ) -> Measured:
        """What ``train`` does with one batch like the one that ``step`` was made for."""
        self._trained = iterations
        step.prepare(batch, rate, iterations, seeds)
        self._last = self._trained = step.context  # in which no step is done yet
        return step.run()

    def code(self, kind: Kind) -> Compiled:
        """Native code of one kind, with its texts and the seconds it took; built if need be.

        Raises ValueError for another kind, or for training without a recipe.
        """
        if kind not in get_args(Kind) or (kind == "training" and self.recipe is None):
            raise ValueError(f"`kind` must be one of {get_args(Kind)}. Received: kind={kind!r}")
        if kind not in self._codes:
            training = kind == "training"
            network = self.networks[kind]
            network = network if training else _without_optimizer(network)
            build = jit.timed if self._timed else jit.compiled
            self._codes[kind] = build(network, self.machine, training, self.guard)
        return self._codes[kind]

    def live_places(self, stage: int) -> float | None:
        """Live places of an image behind the convolution that is stage number ``stage``, the mean
        over the last images that were trained, as many as have records at once; None where nothing
        was trained, or there are no lists."""
        computed = self.network.stages[stage]
        assert isinstance(computed, ConvolutionStage)
        try:
            counts = self.left(live_lists(computed.output)[2].name).view(np.int32)
        except KeyError:
            return None
        return float(counts.sum(dtype=np.int64)) / len(counts)

    def left(self, slot: str, kind: Kind = "training") -> np.ndarray:
        """What each image of the last run's last part left in a slot, uint8 (images, bytes).

        A Program with a guard keeps everything. Raises KeyError for what was not kept.
        """
        return self._memory[kind].left(slot)

    def intact(self) -> bool:
        """Whether no guard was written to, for tests; False where nothing was run yet."""
        held = self._memory.values()
        return any(memory.images for memory in held) and all(memory.intact() for memory in held)

    def records_held(self, kind: Kind) -> int:
        """How many images of a batch have memory at once; larger batches go in parts. 0 before the
        first run, and where images leave nothing behind for one another."""
        return self._memory[kind].images

    def _hold_images(
        self, context: Context, kind: Kind, count: int, threads: int, held: Held
    ) -> None:
        """Hands memory for ``count`` images over, or for as large a part of them as may be at
        once."""
        training, network = kind == "training", self.networks[kind]
        context["part_size"] = held.hold(
            network,
            self.code(kind).memory,
            count,
            threads,
            training=training,
            whole=training and self.network.whole_batches,
        )
        records = held.records
        context["records"], context["own"] = records.of_images, records.own
        context["own_images"] = records.extent.group
        context["scratch"], context["partials"] = records.scratch, records.of_slices

    def _context(self, batches: Batches, outputs: Several | None) -> Context:
        """A context with all that training and inference share, checked."""
        check(batches, self.graph, self.recipe)
        return contexts.of_batches(batches, outputs, self.graph, self._weights, self.threads)

    def _run(
        self,
        kind: Kind,
        context: Context,
        run: Run,
        measured: Callable[[], Measured],
        watch: Watch | None,
        stop: Stop | None,
    ) -> Measured:
        """Run native code; ``watch`` sees what was measured so far."""

        def look() -> bool:
            if watch is not None:
                watch(measured())
            return stop is not None and stop()

        self._last, weights = context, self._weights
        context["prepared"] = int(weights.prepared == kind)
        weights.prepared = None  # until the run has ended well
        try:
            workers.run(self.code(kind), context, run.threads, None if run.short else look)
        finally:
            context.release()
        weights.prepared = kind
        result = measured()
        if watch is not None:
            watch(result)
        return result


def _without_optimizer(network: Network) -> Network:
    """The network as inference knows it: nets that are trained otherwise share its code."""
    if network.recipe is None:
        return network
    return replace(network, recipe=replace(network.recipe, optimizer=Optimizer("sgd")))
