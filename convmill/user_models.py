"""Where models of users come from: a file, or a function in a script."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from convmill.failure import Failure, nearest
from convmill.user_functions import no_function

SUFFIX = ".keras"
OPTIMIZER = "rmsprop"
# What a function that builds a model is given where neither it nor the user says it: MNIST's.
INPUT_SHAPE = (28, 28, 1)
CLASSES = 10


def problem_of(source: str) -> str:
    """What is wrong with ``source``, which must name FILE.keras or SCRIPT.py:FUNCTION of a file
    that can be read; nothing where it does."""
    script, colon, function = source.rpartition(":")
    from_script = bool(colon) and script.endswith(".py")
    path = Path(script if from_script else source)
    if path.is_dir():
        return f"{path} is a folder; a file is needed."
    if not path.is_file():
        return f"There is no file {path}."
    if path.suffix == ".py" and not from_script:
        return f"Say which function builds the model: {path}:FUNCTION"
    if not from_script and path.suffix != SUFFIX:
        return f"It must be FILE.keras or SCRIPT.py:FUNCTION. Received: {source}"
    if from_script and not function.isidentifier():
        return f"'{function}' cannot be the name of a function."
    if (reason := _unreadable(path)) is not None:
        return f"{path} cannot be read: {reason}."
    return ""


def _unreadable(path: Path) -> str | None:
    """Why a file cannot be read; only trying tells."""
    try:
        path.open("rb").close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def load_model(path: Path) -> Any:
    """The Keras model in a ``.keras`` file. Code that may hide in the file is never run.

    Raises:
        Failure: it is no such file, or a damaged one.
    """
    from convmill import models

    if path.suffix != SUFFIX or not zipfile.is_zipfile(path):
        raise Failure(_no_model(path))
    try:
        return models.load_model(path)  # safe_mode stays on
    except (OSError, ValueError) as error:
        raise Failure(getattr(error, "strerror", None) or str(error)) from error


def _no_model(path: Path) -> str:
    size = path.stat().st_size
    if path.suffix != SUFFIX:
        what = f"its name does not end in {SUFFIX}"
    elif size == 0:
        what = "it is empty"
    else:
        counted = "1 byte that is" if size == 1 else f"{size:,} bytes that are"
        what = f"{counted} no such archive, or cut short"
    return f"{path} is no Keras model ({SUFFIX} file). Received: {what}."


def build_model(
    source: str,
    given: Mapping[str, Any],
    otherwise: Mapping[str, Any] | None = None,
    needed: Iterable[str] = (),
) -> Any:
    """Calls the function that ``source``, ``script.py:function``, names; returns its model.

    Args:
        given: what the function gets where it has parameters of these names.
        otherwise: what those of its parameters get that have no default of their own.
        needed: which of ``given`` it must have parameters for.

    Raises:
        Failure: no such function, one that lacks a parameter, an error in it, or what it returns
            is no Keras model.
    """
    import keras

    script, _, name = source.rpartition(":")
    path = Path(script)
    file = path.absolute()  # as Python names it in a traceback; the script may change folders
    try:
        module = _import(path)
        function = getattr(module, name, None)
        if not callable(function):
            raise no_function(path, name, _functions(module))
        check_parameters(function, needed, source)
        model = function(**_arguments(function, given, otherwise or {}))
    except (Failure, KeyboardInterrupt):
        raise
    except BaseException as error:  # the script can raise anything, SystemExit too
        what = f"{type(error).__name__}: {error}"
        raise Failure(f"{path}{_line(error, file)}: {what}") from error
    if not isinstance(model, keras.Model):
        raise Failure(f"{source} must return a Keras model. Received: {type(model).__name__}.")
    return model


def _functions(module: ModuleType) -> list[str]:
    """The names of the functions that a script defines itself."""
    return [
        name
        for name, each in vars(module).items()
        if inspect.isfunction(each) and each.__module__ == module.__name__
    ]


def model_for(source: str, input_shape: tuple[int, ...], classes: int) -> Any:
    """The model in a ``.keras`` file, or the one that a function builds for images of that shape
    and so many classes. Failure as above."""
    if source.endswith(SUFFIX):
        return load_model(Path(source))
    return build_model(source, {"input_shape": input_shape, "classes": classes})


def check_parameters(function: Callable[..., Any], names: Iterable[str], source: str) -> None:
    """Raises Failure for a name that ``function``, written as ``source``, has no parameter of."""
    known = list(inspect.signature(function).parameters)
    for name in names:
        if name not in known:
            takes = f"It takes {', '.join(known)}." if known else "It takes none."
            raise Failure(f"{source} takes no argument '{name}'.{nearest(name, known)} {takes}")


def build_design(source: str, given: Mapping[str, Any], needed: Iterable[str] = ()) -> Any:
    """``build_model`` for a design to look at, of MNIST's size where nothing says another; a
    Failure names the layer that does not fit."""
    import keras

    from convmill.runtime import reserve

    reserve.require_start()
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()  # or the layer is lost from the traceback
    try:
        return build_model(
            source,
            given,
            otherwise={"input_shape": INPUT_SHAPE, "classes": CLASSES},
            needed=needed,
        )
    except Failure as failure:
        layer = _failing_layer(failure.__cause__)
        if layer is None:
            raise
        where = f"Layer '{layer.name}' ({type(layer).__name__}) cannot be built."
        raise Failure(f"{failure.message.rstrip()}\n{where}") from failure
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def _failing_layer(error: BaseException | None) -> Any:
    """The innermost layer, models aside, in which an error arose."""
    import keras

    layer, trace = None, error.__traceback__ if error else None
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, keras.Layer) and not isinstance(owner, keras.Model):
            layer = owner
        trace = trace.tb_next
    return layer


def _arguments(
    function: Callable[..., Any], given: Mapping[str, Any], otherwise: Mapping[str, Any]
) -> dict[str, Any]:
    """Those of the values that the function has parameters for; see ``build_model``."""
    known = inspect.signature(function).parameters
    bare = {name for name, each in known.items() if each.default is each.empty}
    filled = {name: value for name, value in otherwise.items() if name in bare}
    return filled | {name: value for name, value in given.items() if name in known}


def _import(path: Path) -> ModuleType:
    """Runs a script as a module of its own, with its folder importable as under ``python``."""
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    if spec is None or spec.loader is None:
        raise Failure(f"{path} is no Python script: its name must end in .py.")
    folder = path.parent.resolve()
    sys.path.insert(0, str(folder))
    _forget_changed(folder)
    before = set(sys.modules)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        for name in set(sys.modules) - before:
            if (state := _state(sys.modules[name], folder)) is not None:
                _helpers[name] = state
    return module


_helpers: dict[str, tuple[str, int, int]] = {}  # modules that scripts imported from their folders


def _forget_changed(folder: Path) -> None:
    """Where a file changed that a script imported from its folder, the modules of that folder are
    forgotten, so that they are read again: one of them may hold what is of another."""
    inside = [name for name, state in _helpers.items() if Path(state[0]).is_relative_to(folder)]
    known = {name: _helpers[name] for name in inside}
    if all(_state(sys.modules.get(name), folder) == state for name, state in known.items()):
        return
    importlib.invalidate_caches()
    for name in known:
        del _helpers[name]
        sys.modules.pop(name, None)


def _state(module: Any, folder: Path) -> tuple[str, int, int] | None:
    """Path, bytes and time of a module's file; None where it is no Python file in ``folder``."""
    path = Path(getattr(module, "__file__", None) or "").resolve()
    if path.suffix != ".py" or not path.is_relative_to(folder) or not path.is_file():
        return None
    return str(path), path.stat().st_size, path.stat().st_mtime_ns


def _line(error: BaseException, file: Path) -> str:
    """ ", line 4": the innermost line of the user's script in which the error arose, if any."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""


def compile_model(model: Any, optimizer: str | None) -> None:
    """Compiles a model that is not, or gives a compiled one another optimizer where one is named.

    A model without a loss gets cross-entropy: of probabilities, or of logits where its last layer
    has a linear activation.
    """
    from convmill.plan.ends import last_activation
    from convmill.user_arrays import output_size  # NumPy, which no help text waits for

    if model.compiled:
        if optimizer is not None:
            model.compile_from_config(model.get_compile_config() | {"optimizer": optimizer})
        return
    loss, metric = _cross_entropy(output_size(model) == 1, last_activation(model) == "linear")
    model.compile(optimizer=optimizer or OPTIMIZER, loss=loss, metrics=[metric])


def _cross_entropy(single: bool, logits: bool) -> tuple[Any, Any]:
    """Loss and accuracy of one output or several."""
    from keras import losses, metrics

    if not logits:
        return "binary_crossentropy" if single else "categorical_crossentropy", "accuracy"
    if single:
        right = metrics.BinaryAccuracy("accuracy", threshold=0.0)
        return losses.BinaryCrossentropy(from_logits=True), right
    return losses.CategoricalCrossentropy(from_logits=True), "accuracy"
