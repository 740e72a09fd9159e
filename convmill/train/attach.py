"""The one file that knows the inside of Keras' trainer. A new Keras release is work here alone.

Written against Keras 3.15. The other modules use what Keras documents, and this file's functions.
"""

from __future__ import annotations

import functools
import inspect
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import keras
import numpy as np
from keras.src import backend
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.backend.common.variables import get_autocast_scope
from keras.src.legacy.saving import legacy_h5_format
from keras.src.models import cloning
from keras.src.random import seed_generator
from keras.src.saving import saving_lib
from keras.src.trainers import data_adapters
from keras.src.trainers.compile_utils import CompileLoss, CompileMetrics
from keras.src.trainers.data_adapters import array_data_adapter
from keras.src.trainers.data_adapters.data_adapter import DataAdapter
from keras.src.trainers.epoch_iterator import EpochIterator
from keras.src.utils import io_utils

from convmill.plan.ends import Ends
from convmill.plan.refusals import NotCovered
from convmill.plan.written import own_call
from convmill.reasons import reason_of, without_addresses
from convmill.train.arrays import Given, Interface
from convmill.train.turns import Turn

METHODS = (
    "fit",
    "evaluate",
    "predict",
    "train_on_batch",
    "test_on_batch",
    "predict_on_batch",
)

# Keras' own methods, taken before anything of ours could stand in their place.
KERAS: dict[str, Callable[..., Any]] = {name: getattr(keras.Model, name) for name in METHODS}
# Those that write and read files; they stand in keras.Model itself.
FILES: dict[str, Callable[..., Any]] = {
    name: getattr(keras.Model, name) for name in ("save", "save_weights", "load_weights")
}
SIGNATURES = {name: inspect.signature(method) for name, method in KERAS.items()}

# Functions that write and read files, where users find them.
_PLACES = (
    (keras.models, ("save_model", "load_model")),
    (keras.saving, ("save_model", "load_model", "save_weights", "load_weights")),
)
_FUNCTIONS: dict[tuple[Any, str], Callable[..., Any]] = {
    (module, name): getattr(module, name) for module, names in _PLACES for name in names
}
load_model = _FUNCTIONS[keras.models, "load_model"]

# What a class may override so that its training is its own affair.
_TRAINING_STEPS = (
    "train_step",
    "test_step",
    "compute_loss",
    "compute_metrics",
    "compute_loss_and_updates",
    "make_train_function",
    "make_test_function",
    "get_metrics_result",
    "reset_metrics",
    "metrics",
    "stateless_call",
)
_PREDICTION_STEPS = ("predict_step", "make_predict_function", "stateless_call")


# Replacing Keras' methods for every model -------------------------------------------------------


def patch(
    methods: Mapping[str, Callable[..., Any]], functions: Mapping[str, Callable[..., Any]]
) -> None:
    """Puts ``methods`` in the place of ``keras.Model``'s, for every model there is, and
    ``functions`` in that of Keras' that write and read files."""
    for name, method in methods.items():
        setattr(keras.Model, name, method)
    for module, name in _FUNCTIONS:
        setattr(module, name, functions[name])


def unpatch() -> None:
    """Takes back what ``patch`` did."""
    for name in METHODS:
        # Keras defines these in a base class of keras.Model, never in itself.
        if name in vars(keras.Model):
            delattr(keras.Model, name)
    for name, method in FILES.items():
        setattr(keras.Model, name, method)
    for (module, name), function in _FUNCTIONS.items():
        setattr(module, name, function)


def overridden(model: Any, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that the model's class or the model itself defines anew."""
    own = [cls for cls in type(model).__mro__ if not _is_keras_or_ours(cls)]
    return [name for name in names if name in vars(model) or any(name in vars(c) for c in own)]


def own_steps(model: Any, training: bool) -> list[str]:
    """Parts of Keras' steps, of training or of prediction, that the model defines anew."""
    return overridden(model, _TRAINING_STEPS if training else _PREDICTION_STEPS)


def _is_keras_or_ours(cls: type) -> bool:
    return cls is object or cls.__module__.split(".")[0] in ("keras", "convmill", "tensorflow")


# Copies -----------------------------------------------------------------------------------------

# What ``keras.models.clone_model`` calls, by whichever name a program knows that one.
_CLONING = ("_clone_sequential_model", "_clone_functional_model")


def after_cloning(then: Callable[[Any, Any], Any]) -> None:
    """From here on, Keras' ``clone_model`` returns ``then(model, clone)``; asking again is free.

    Where the model is Sequential or functional: nobody can tell how another one is cloned.
    """
    for name in _CLONING:
        clone = getattr(cloning, name)
        if not hasattr(clone, "then"):
            setattr(cloning, name, _followed(clone, then))


def _followed(clone: Callable[..., Any], then: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    @functools.wraps(clone)
    def cloned(model: Any, *args: Any, **kwargs: Any) -> Any:
        return then(model, clone(model, *args, **kwargs))

    vars(cloned)["then"] = then
    return cloned


# Building ---------------------------------------------------------------------------------------


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


# Data -------------------------------------------------------------------------------------------


def is_array_data(*data: Any) -> bool:
    """Whether Keras would take all of ``data`` as arrays (None passes)."""
    return bool(array_data_adapter.can_convert_arrays(data))


def is_adapter(x: Any) -> bool:
    """Whether ``x`` is one of Keras' data adapters already."""
    return isinstance(x, DataAdapter)


def adapt(x: Any, y: Any, sample_weight: Any, class_weight: Any, shuffle: Any) -> Any:
    """Keras' data adapter for input that is no array, with Keras' own checks and errors."""
    return data_adapters.get_data_adapter(
        x, y, sample_weight=sample_weight, class_weight=class_weight, shuffle=shuffle
    )


class Epochs(EpochIterator):
    """Keras' iterator over a data adapter's batches, epoch by epoch, read when Keras reads them.

    ``together`` batches are taken between two hooks. ``renew`` is called whenever Keras would begin
    to go through its arrays anew, which is when it converts them.
    """

    def __init__(
        self, x: Any, together: int, renew: Callable[[], None] | None = None, **arguments: Any
    ) -> None:
        super().__init__(x=x, steps_per_execution=together, **arguments)
        self.together = together
        self._renew = renew
        self._begins = False

    def _get_iterator(self) -> Any:
        # Without steps_per_epoch the iterator that Keras makes at an epoch's end is never used.
        if self._renew is not None and (self._begins or self.steps_per_epoch):
            self._renew()
        self._begins = False
        if backend.backend() == "jax":
            return self.data_adapter.get_jax_iterator()
        return self.data_adapter.get_numpy_iterator()

    def __next__(self) -> tuple[int, int, Iterator[Any]]:
        return next(self._epoch_iterator)

    def epoch(self) -> Iterator[tuple[int, int, Iterator[Any]]]:
        """One epoch: the numbers of the first and the last step, and their batches, in turn.

        A batch is read when it is asked for. Where the first one of some is asked for and there is
        none, the epoch ends, and a warning of Keras' says so.
        """
        self._begins = True
        for first, last, batches in self:
            counted = _Counted(itertools.islice(batches, self.together))
            yield first, last, counted
            if counted.count == 0:
                with self.catch_stop_iteration():
                    raise StopIteration
                return

    def look(self) -> Any:
        """The batch that Keras reads to build a model, None where there is none; then ``reset``."""
        for _, _, batches in self:
            return next(batches, None)
        return None


class _Counted(Iterator[Any]):
    """An iterator that counts what it has given."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self.count = 0

    def __next__(self) -> Any:
        item = next(self._items)
        self.count += 1
        return item


def py_dataset(epochs: Epochs) -> Any:
    """The ``keras.utils.PyDataset`` behind an iterator; None where there is another thing."""
    return getattr(epochs.data_adapter, "py_dataset", None)


def index_epochs(
    images: int,
    batch_size: int | None,
    steps: int | None,
    shuffle: Any,
    together: int,
    renew: Callable[[], None],
) -> Epochs:
    """Batches of indices of ``images`` images, int64 arrays, in the order that Keras would take.

    The random numbers come from NumPy's global state, as with Keras on JAX.
    """
    indices = np.arange(images, dtype=np.int64)
    return Epochs(
        indices, together, renew, batch_size=batch_size, steps_per_epoch=steps, shuffle=shuffle
    )


def adapter_epochs(adapter: Any, steps: int | None, together: int) -> Epochs:
    """The batches of one of Keras' data adapters, as NumPy arrays."""
    return Epochs(adapter, together, steps_per_epoch=steps)


# Losses that Keras computes ----------------------------------------------------------------------


def has_bridge() -> bool:
    """Whether Keras' backend is one whose gradients we can ask for."""
    return bool(backend.backend() == "jax")


class _Seen(keras.StatelessScope):
    """A scope that nothing is assigned in, and that notes which variables are read."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: list[Any] = []

    def get_current_value(self, variable: Any) -> Any:
        self.variables.append(variable)
        return super().get_current_value(variable)


def compiled_loss(given: Any) -> Callable[[Any, Any, Any], Any]:
    """What ``compile`` was given as the loss of an output as a trainer computes it, of
    (predictions, y, sample_weight)."""
    loss = CompileLoss(given, output_names=["output"])

    return lambda predictions, y, weight: loss(y, predictions, weight)


def weights_read(model: Any, value: Callable[..., Any], batch: tuple[Any, ...]) -> list[Any]:
    """Weights of the model that ``value`` reads on a batch like this one."""
    import jax

    with _Seen() as seen:
        if model.jit_compile:
            jax.eval_shape(value, *batch)
        else:
            value(*(None if one is None else keras.ops.convert_to_tensor(one) for one in batch))
    own = {id(weight) for weight in model.weights}
    return [variable for variable in seen.variables if id(variable) in own]


def stateless(update: Callable[..., None], variables: Sequence[Any]) -> Callable[..., list[Any]]:
    """``update``, which assigns ``variables``, as a function that JAX compiles: of their values and
    its own arguments, to their values behind it."""
    import jax

    def updated(values: Sequence[Any], *arguments: Any) -> list[Any]:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            update(*arguments)
        return [scope.get_current_value(variable) for variable in variables]

    compiled: Callable[..., list[Any]] = jax.jit(updated)
    return compiled


def with_gradient(model: Any, value: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """``value`` and its gradient by its first argument; traced once for arrays of one kind, unless
    the model was compiled with ``jit_compile=False``."""
    import jax

    def assigning_nothing(*batch: Any) -> Any:
        with keras.StatelessScope():
            return value(*batch)

    found = jax.value_and_grad(assigning_nothing)
    traced: Callable[..., tuple[Any, Any]] = jax.jit(found) if model.jit_compile else found
    return traced


# Variables --------------------------------------------------------------------------------------


def held_values(variables: Sequence[Any]) -> list[Any] | None:
    """What variables hold, without asking each of them for its value; None where that would be
    another one: within scopes of Keras', and before there is one."""
    if in_stateless_scope() or get_autocast_scope() is not None:
        return None
    values = list(map(_HELD, variables))
    return None if any(value is None for value in values) else values


_HELD = attrgetter("_value")


def weights_by_layer(model: Any) -> Iterator[tuple[str, list[Any]]]:
    """The name of each layer, and the weights that it has itself."""
    for layer in model._flatten_layers(include_self=False):
        yield layer.name, [*layer._trainable_variables, *layer._non_trainable_variables]


# Keras' own steps -------------------------------------------------------------------------------


def run_keras(name: str, model: Any, *args: Any, **kwargs: Any) -> Any:
    """Keras' own method ``name``. Where it raises, the model still has its values: Keras on JAX
    takes them away while it runs, and gives them back only once a step has been made."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *model.metrics_variables]
    variables += [] if optimizer is None else optimizer.variables
    before = [_HELD(variable) for variable in variables]
    try:
        return KERAS[name](model, *args, **kwargs)
    except BaseException:
        if backend.backend() == "jax":
            model.jax_state_sync()
            for variable, value in zip(variables, before, strict=True):
                if _HELD(variable) is None:
                    variable._value = value
        raise


def keras_step(model: Any, method: str, *batch: Any) -> None:
    """One step of Keras' own, with what the metrics have counted so far kept.

    ``method`` is ``train_on_batch`` or ``test_on_batch``, which begin with ``reset_metrics``;
    ``batch`` is x, y and sample_weight.
    """
    attributes = vars(model)
    attributes["reset_metrics"] = lambda: None  # past Keras' __setattr__, which would track it
    try:
        x, y, sample_weight = batch
        KERAS[method](model, x, y, sample_weight=sample_weight)
    finally:
        del attributes["reset_metrics"]


def compilation(model: Any) -> tuple[Any, ...]:
    """What the latest ``compile`` made: other objects after each call of it."""
    return model.optimizer, model._compile_loss, model._compile_metrics, model._loss_tracker


# Metrics ----------------------------------------------------------------------------------------


def loss_tracker(model: Any) -> Any:
    """The ``keras.metrics.Mean`` behind the log ``loss``."""
    return model._loss_tracker


def loss_trackers(model: Any, outputs: Ends) -> list[tuple[Any, int]]:
    """The ``keras.metrics.Mean`` behind the log of each output's loss, with the output's number;
    none where there is but one loss."""
    compiled = model._compile_loss
    if compiled is None or not compiled.built:
        return []
    numbers = [_number(loss.path, outputs) for loss in compiled._flat_losses]
    return list(zip(compiled.metrics, numbers, strict=False))


@dataclass(frozen=True)
class Compiled:
    """A metric that ``compile`` named, with the log's name; the number of the output that it looks
    at, and whether sample weights count in it."""

    metric: Any
    name: str
    output: int
    weighted: bool


def compiled_metrics(model: Any, outputs: Ends) -> list[Compiled]:
    """The metrics that ``compile`` named, once Keras has built them."""
    return list(_listed_metrics(model._compile_metrics, outputs))


def _listed_metrics(compiled: Any, outputs: Ends) -> Iterator[Compiled]:
    if compiled is None or not compiled.built:
        return
    numbers = compiled._flatten_y(outputs.structure)
    groups = ((compiled._flat_metrics, False), (compiled._flat_weighted_metrics, True))
    for lists, weighted in groups:
        for group, number in zip(lists, numbers, strict=True):
            for metric in () if group is None else group.metrics:
                before = f"{group.output_name}_" if group.output_name else ""
                yield Compiled(metric, before + metric.name, number, weighted)


# What compile was given, output by output -------------------------------------------------------
#
# Keras resolves lists and dicts of losses, weights and metrics when it sees the first batch. Here
# its own code does so beforehand, with marks in the places of what was given and symbols in the
# places of predictions.


@dataclass(frozen=True)
class Asked:
    """What ``compile`` was given for one output: a loss with its weight, or a metric."""

    output: int
    given: Any
    weight: Any = None


def asked_losses(model: Any, outputs: Ends) -> list[Asked]:
    """The losses that ``compile`` was given, in Keras' order; several may look at one output.

    Raises ValueError where they do not fit the outputs, NotCovered where one looks at several.
    """
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None:
        return []
    given, weights = compiled._user_loss, compiled._user_loss_weights
    trial = CompileLoss(_marked(given), weights, output_names=compiled.output_names)
    _build(trial, outputs, "loss and loss_weights", {"loss": given, "loss_weights": weights})
    return [
        Asked(_number(loss.path, outputs), loss.loss.fn.given, loss.loss_weights)
        for loss in trial._flat_losses
    ]


def asked_metrics(model: Any, outputs: Ends) -> list[Asked]:
    """The metrics that ``compile`` was given, weighted or not. ValueError where they do not fit."""
    compiled = getattr(model, "_compile_metrics", None)
    if compiled is None:
        return []
    given = (compiled._user_metrics, compiled._user_weighted_metrics)
    trial = CompileMetrics(*map(_marked, given), output_names=compiled.output_names)
    received = dict(zip(("metrics", "weighted_metrics"), given, strict=True))
    _build(trial, outputs, "metrics and weighted_metrics", received)
    return [Asked(one.output, one.metric._fn.given) for one in _listed_metrics(trial, outputs)]


def _build(trial: Any, outputs: Ends, title: str, received: Mapping[str, Any]) -> None:
    """Has Keras resolve what was given, for outputs like these. ValueError where it cannot."""
    symbols = outputs.pack([backend.KerasTensor((None, 2)) for _ in outputs.names])
    try:
        trial.build(symbols, symbols)
    except (KeyError, TypeError, ValueError) as error:
        keys = ", ".join(map(repr, outputs.keys))
        given = ", ".join(f"{name}={one!r}" for name, one in received.items() if one is not None)
        said = reason_of(error).partition(" Received: ")[0]  # which names what stands for it
        raise ValueError(
            f"{title} must be a list or a dict with one for each output, {keys}. "
            f"Received: {without_addresses(given)}. Keras says: {said}"
        ) from error


def _marked(given: Any) -> Any:
    """``given``, lists and dicts as they are, with a mark for each loss or metric in it."""
    return keras.tree.map_structure(lambda one: None if one is None else _mark(one), given)


def _mark(given: Any) -> Any:
    def mark(*_: Any) -> Any:
        raise AssertionError("a mark is never called")

    vars(mark)["given"] = given
    mark.__qualname__ = str(getattr(given, "__name__", getattr(given, "name", given)))
    return mark


def _number(path: tuple[Any, ...], outputs: Ends) -> int:
    """The number of the output to which a path of Keras leads. NotCovered where it leads to several
    at once."""
    found = outputs.structure
    for key in path:
        named = isinstance(key, str) and not isinstance(found, Mapping)
        found = outputs.names.index(key) if named else found[key]
    if not isinstance(found, int):
        raise NotCovered("a loss looks at several outputs at once", "give each output its own")
    return found


# Other metrics ----------------------------------------------------------------------------------


def metrics_of_calls(model: Any) -> list[Any]:
    """Metrics that a layer of the model may update when it is called: those of layers whose
    ``call`` is not Keras'. Nobody updates other ones that ``compile`` did not name."""
    layers = model._flatten_layers()
    return [metric for layer in layers if own_call(layer) for metric in layer._metrics]


def flatten_logs(model: Any, logs: Mapping[str, Any]) -> Any:
    """Logs as ``evaluate`` returns them: one number, or a list in the order of the metrics."""
    return model._flatten_metrics_in_order(logs)


def initial_epoch(model: Any, given: int) -> int:
    """The epoch to begin with: a callback's (``BackupAndRestore``), else the one given."""
    return int(model._initial_epoch or given)


# Random numbers ---------------------------------------------------------------------------------


def global_seed(make: bool = False) -> Any:
    """The state of the generator that draws for whoever has none; None where nobody has asked for
    it yet, unless it is to be made."""
    found = global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
    if found is None and make:
        found = seed_generator.global_seed_generator()
    return None if found is None else found.state


# Files ------------------------------------------------------------------------------------------


def may_overwrite(path: Any) -> bool:
    """Whether the user says so, who is asked as Keras asks."""
    return bool(io_utils.ask_to_proceed_with_overwrite(str(path)))


def weights_file(model: Any) -> bytes:
    """What ``save_weights`` writes: HDF5, made in memory, for its library does not survive that a
    disk is full."""
    content = io.BytesIO()
    store = saving_lib.H5IOStore(content, mode="w")
    try:
        saving_lib._save_state(model, store, None, inner_path="", visited_saveables=set())
    finally:
        store.close()
    return content.getvalue()


def model_file_h5(model: Any, include_optimizer: bool) -> bytes:
    """What ``save`` writes into a file of Keras' older format, HDF5; made in memory as well."""
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        legacy_h5_format.save_model_to_hdf5(model, file, include_optimizer=include_optimizer)
    return content.getvalue()
