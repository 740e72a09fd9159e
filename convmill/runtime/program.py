"""A Program: a Plan as native code, with its weights and slots, ready to train and to predict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from convmill.lower.buffers import IMAGE_TYPES
from convmill.lower.fuse import lower
from convmill.lower.schedule import IMAGES_PER_GROUP, Machine
from convmill.lower.stages import Matrix
from convmill.plan.graph import Plan
from convmill.plan.recipe import Recipe
from convmill.runtime import host
from convmill.runtime.jit import Compiled, compiled
from convmill.runtime.memory import Context, Records, aligned

LOOK_SECONDS = 0.05  # between two looks at what native threads have done
PREDICT_BATCH = 4096


@dataclass(frozen=True)
class Batches:
    """Images and labels as arrays, and the order in which they are read.

    ``x`` is (n, height, width, channels) uint8, float32 or float64, each image without gaps;
    ``order`` int64 (m,) picks images; step s reads order[s * batch_size : (s + 1) * batch_size].
    ``y`` is float32 (n, outputs), or int32 (n,) for the sparse loss; ``sample_weight`` float32 (n,).
    """

    x: np.ndarray
    order: np.ndarray
    batch_size: int
    y: np.ndarray | None = None
    sample_weight: np.ndarray | None = None


@dataclass(frozen=True)
class Record:
    """What was measured, one entry per position of ``order`` that was read.

    ``loss`` float32 is each image's loss times its weight; ``correct`` float32 is 1 where it counts
    as right; ``penalty`` float64, one per step, is the regularizers' loss before that step.
    """

    loss: np.ndarray
    correct: np.ndarray
    penalty: np.ndarray
    steps: int


Watch = Callable[[Record], None]


class Program:
    """Weights, optimizer slots and native code of one net.

    Native code is built when it is first needed, for training and for inference apart, and shared
    by all Programs of a process that are alike. Two Programs never share memory that is written.
    ``guard`` is for tests: bytes behind each buffer that must stay as they are.
    """

    def __init__(
        self,
        plan: Plan,
        recipe: Recipe | None = None,
        *,
        threads: int | None = None,
        machine: Machine | None = None,
        guard: int = 0,
    ) -> None:
        self.plan, self.recipe = plan, recipe
        self.threads = host.thread_count(threads)
        self.machine = machine or host.machine()
        self.guard = guard
        self.network = lower(plan, recipe, self.machine.lanes)
        size = self.network.parameter_elements
        kinds = len(recipe.optimizer.slots) if recipe else 0
        self._parameters = aligned(size, np.float32)
        self._gradients = aligned(size, np.float32)
        self._slots = aligned(size * kinds, np.float32)
        self._packs = aligned(self.network.pack_elements, np.float32)
        self._records: dict[tuple[bool, int], Records] = {}

    # -- weights ---------------------------------------------------------------------------------

    def set_parameters(self, values: Sequence[np.ndarray]) -> None:
        """Take weights in Keras' layout, in the order of ``plan.parameters``."""
        self._check_count("values", len(values), len(self.network.matrices))
        for matrix, value in zip(self.network.matrices, values, strict=True):
            self._put(self._parameters, matrix, value)

    def get_parameters(self) -> list[np.ndarray]:
        """Copies of all weights in Keras' layout."""
        return [self._take(self._parameters, matrix) for matrix in self.network.matrices]

    def get_gradients(self) -> list[np.ndarray]:
        """Gradients of the last step by trainable parameter (regularizers not yet added)."""
        return [self._take(self._gradients, matrix) for matrix in self._trainable]

    def set_slots(self, values: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Take the optimizer's state: for each slot name one array per trainable parameter."""
        for name, state in self._slot_arrays().items():
            self._check_count(name, len(values[name]), len(self._trainable))
            for matrix, value in zip(self._trainable, values[name], strict=True):
                self._put(state, matrix, value)

    def get_slots(self) -> dict[str, list[np.ndarray]]:
        """Copies of the optimizer's state."""
        return {
            name: [self._take(state, matrix) for matrix in self._trainable]
            for name, state in self._slot_arrays().items()
        }

    @property
    def _trainable(self) -> list[Matrix]:
        return [matrix for matrix in self.network.matrices if matrix.trainable]

    def _slot_arrays(self) -> dict[str, np.ndarray]:
        names = self.recipe.optimizer.slots if self.recipe else ()
        return dict(zip(names, self._slots.reshape(len(names), -1), strict=True)) if names else {}

    def _put(self, flat: np.ndarray, matrix: Matrix, value: np.ndarray) -> None:
        """Write one parameter in our layout: filters first for convolutions."""
        shape = self.plan.parameters[matrix.index].shape
        value = np.asarray(value, np.float32)
        if value.shape != shape:
            name = self.plan.parameters[matrix.index].name
            raise ValueError(f"{name} has shape {shape}. Received: shape {value.shape}")
        if value.ndim == 4:
            value = value.transpose(3, 0, 1, 2)
        flat[matrix.offset : matrix.offset + matrix.size] = value.reshape(-1)

    def _take(self, flat: np.ndarray, matrix: Matrix) -> np.ndarray:
        shape = self.plan.parameters[matrix.index].shape
        value = flat[matrix.offset : matrix.offset + matrix.size]
        if len(shape) == 4:
            return value.reshape(shape[3], *shape[:3]).transpose(1, 2, 3, 0).copy()
        return value.reshape(shape).copy()

    @staticmethod
    def _check_count(name: str, received: int, wanted: int) -> None:
        if received != wanted:
            raise ValueError(f"`{name}` must hold {wanted} arrays. Received: {received}")

    # -- runs ------------------------------------------------------------------------------------

    def train(
        self,
        batches: Batches,
        rates: np.ndarray,
        *,
        iterations: int = 0,
        seeds: np.ndarray | None = None,
        outputs: np.ndarray | None = None,
        watch: Watch | None = None,
    ) -> Record:
        """One step for each batch; ``rates`` holds the learning rate of each.

        ``iterations`` counts the optimizer's steps before (Adam's bias corrections, dropout);
        ``seeds`` uint64 has one seed per dropout layer; ``outputs`` float32 (m, outputs) receives
        the predictions of the training pass. ``watch`` is called some twenty times a second and
        at the end; what it raises stops the threads behind the step they are in, and goes on.
        """
        if self.recipe is None:
            raise ValueError("a Program without a recipe cannot train")
        steps = -(-len(batches.order) // batches.batch_size)
        if len(rates) != steps:
            raise ValueError(f"`rates` must hold {steps} rates. Received: {len(rates)}")
        code = self._code(training=True)
        context = self._context(batches, outputs)
        context["records"] = self._records_for(
            code, True, min(batches.batch_size, len(batches.order))
        ).memory
        context["hyper"] = self._hyper(np.asarray(rates, np.float64), iterations)
        context["seeds"] = self._seeds(seeds)
        context["slots"], context["gradients"] = self._slots, self._gradients
        regularized = [m for m in self.network.matrices if m.regularizer is not None]
        penalties = np.zeros((steps, len(regularized)), np.float32)
        context["penalties"] = penalties
        context["norms"] = aligned(len(self.network.matrices), np.float32)
        context["iterations"], context["last_step"] = iterations, steps
        losses, correct = self._measurements(context, len(batches.order))

        def record() -> Record:
            done = context["finished"]
            read = min(done * batches.batch_size, len(batches.order))
            penalty = penalties[:done].sum(axis=1, dtype=np.float64)
            return Record(losses[:read], correct[:read], penalty, done)

        return self._run(code, context, record, watch)

    def evaluate(
        self,
        batches: Batches,
        *,
        outputs: np.ndarray | None = None,
        watch: Watch | None = None,
    ) -> Record:
        """Losses, and predictions into ``outputs``; nothing is trained."""
        code = self._code(training=False)
        context = self._context(batches, outputs)
        context["records"] = self._records_for(
            code, False, self.threads * IMAGES_PER_GROUP
        ).memory
        losses, correct = self._measurements(context, len(batches.order))
        steps = -(-len(batches.order) // batches.batch_size)

        def record() -> Record:
            read = context["finished"]
            done = steps if read >= len(batches.order) else read // batches.batch_size
            # Groups finish in any order: until the end only the count is certain.
            shown = read if done == steps else 0
            return Record(losses[:shown], correct[:shown], np.zeros(done), done)

        return self._run(code, context, record, watch)

    def predict(
        self, x: np.ndarray, *, batch_size: int | None = None, watch: Watch | None = None
    ) -> np.ndarray:
        """Outputs of the net, float32 (n, *output shape)."""
        outputs = np.empty((len(x), *self.plan.output_shape), np.float32)
        if len(x):
            order = np.arange(len(x), dtype=np.int64)
            batches = Batches(x, order, batch_size or PREDICT_BATCH)
            self.evaluate(batches, outputs=outputs, watch=watch)
        return outputs

    def _code(self, training: bool) -> Compiled:
        return compiled(self.network, self.machine, training, self.guard)

    def code(self, kind: Literal["training", "inference"]) -> Compiled:
        """Native code of one kind, with its texts and the seconds it took; built if need be."""
        return self._code(kind == "training")

    def _records_for(self, code: Compiled, training: bool, count: int) -> Records:
        key = (training, count)
        if key not in self._records:
            others = [known for known in self._records if known[0] == training]
            for known in others:
                del self._records[known]
            self._records[key] = Records(self.network, code.layout, count, self.guard)
        return self._records[key]

    def _context(self, batches: Batches, outputs: np.ndarray | None) -> Context:
        """A context with all that training and inference share, checked."""
        x, order = batches.x, batches.order
        count = len(order)
        self._check_images(x)
        if order.dtype != np.int64 or order.ndim != 1 or not count:
            raise ValueError("`order` must be int64 indices, at least one")
        if order.min() < 0 or order.max() >= len(x):
            raise ValueError(f"`order` must index {len(x)} images")
        if batches.batch_size < 1:
            raise ValueError(f"`batch_size` must be positive. Received: {batches.batch_size}")
        context = Context()
        context["images"], context["order"] = x, np.ascontiguousarray(order)
        context["image_stride"] = x.strides[0]
        context["image_type"] = IMAGE_TYPES.index(x.dtype.name)
        context["positions"], context["batch_size"] = count, batches.batch_size
        context["parameters"], context["packs"] = self._parameters, self._packs
        context["threads"] = self.threads
        if batches.y is not None:
            context["labels"] = self._labels(batches.y, len(x))
            context["has_labels"] = 1
        weights = batches.sample_weight
        if weights is None:
            weights = np.ones(len(x), np.float32)
        if weights.shape != (len(x),) or weights.dtype != np.float32:
            raise ValueError(f"`sample_weight` must be float32, shape ({len(x)},)")
        context["weights"] = np.ascontiguousarray(weights)
        if outputs is not None:
            wanted = (count, *self.plan.output_shape)
            fits = outputs.flags.c_contiguous and outputs.dtype == np.float32
            if not fits or outputs.shape != wanted:
                raise ValueError(f"`outputs` must be float32 {wanted} without gaps")
            context["outputs"], context["has_outputs"] = outputs, 1
        return context

    def _check_images(self, x: np.ndarray) -> None:
        shape = self.plan.input_shape
        if x.shape[1:] != shape or x.dtype.name not in IMAGE_TYPES or not x.dtype.isnative:
            raise ValueError(
                f"`x` must be (n, {', '.join(map(str, shape))}) of {', '.join(IMAGE_TYPES)}. "
                f"Received: shape {x.shape}, {x.dtype}"
            )
        if len(x) and not x[0].flags.c_contiguous:
            raise ValueError("`x` must hold each image without gaps")

    def _labels(self, y: np.ndarray, count: int) -> np.ndarray:
        if self.recipe is None:
            raise ValueError("a Program without a recipe takes no labels")
        sparse = self.recipe.loss.sparse
        shape = (count,) if sparse else (count, *self.plan.output_shape)
        dtype = np.int32 if sparse else np.float32
        if y.shape != shape or y.dtype != dtype:
            raise ValueError(
                f"`y` must be {np.dtype(dtype)} {shape}. Received: {y.dtype} {y.shape}"
            )
        return np.ascontiguousarray(y)

    def _measurements(self, context: Context, count: int) -> tuple[np.ndarray, np.ndarray]:
        losses, correct = np.zeros(count, np.float32), np.zeros(count, np.float32)
        context["losses"], context["correct"] = losses, correct
        return losses, correct

    def _seeds(self, seeds: np.ndarray | None) -> np.ndarray:
        count = self.plan.dropouts
        if seeds is None:
            return np.zeros(max(1, count), np.uint64)
        self._check_count("seeds", len(seeds), count)
        return np.array([*seeds, 0], np.uint64)

    def _hyper(self, rates: np.ndarray, iterations: int) -> np.ndarray:
        """Float32 (steps, 2): the learning rate, and for Adam the rate with bias corrections."""
        assert self.recipe is not None
        optimizer = self.recipe.optimizer
        corrected = np.zeros_like(rates)
        if optimizer.name == "adam":
            step = np.arange(iterations + 1, iterations + 1 + len(rates), dtype=np.float64)
            corrected = rates * np.sqrt(1 - optimizer.beta_2**step) / (1 - optimizer.beta_1**step)
        return np.stack([rates, corrected], axis=1).astype(np.float32)

    def _run(
        self, code: Compiled, context: Context, record: Callable[[], Record], watch: Watch | None
    ) -> Record:
        """Run native code on all threads, looking at it now and then."""
        workers = [
            threading.Thread(target=code.entry, args=(context.address, number), daemon=True)
            for number in range(self.threads)
        ]
        started: list[threading.Thread] = []
        try:
            for worker in workers:
                worker.start()
                started.append(worker)
            for worker in workers:
                while worker.is_alive():
                    worker.join(LOOK_SECONDS)
                    if watch is not None and worker.is_alive():
                        watch(record())
            result = record()
            if watch is not None:
                watch(result)
        finally:
            self._stop(context, started)
        return result

    def _stop(self, context: Context, started: list[threading.Thread]) -> None:
        """Ask the threads to stop behind the step they are in, and wait for them."""
        context["stop"] = 1
        for worker in started:
            worker.join()
