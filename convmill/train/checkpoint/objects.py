"""What callbacks and data sets have of a state of their own, beside what they were made with.

An object may tell its state itself: by ``state_dict()``, which returns plain values and arrays, and
``load_state_dict(state)``. Of any other one the attributes are taken that have changed since the
run began.
"""

from __future__ import annotations

import os
import types
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convmill import storage
from convmill.plan.written import is_keras_class
from convmill.train.checkpoint import tree

# What a run gives its callbacks, and what only this process can have.
_PASSED_OVER = {"params", "model", "_model"}
_OF_PROCESS = {keras.callbacks.CSVLogger: {"csv_file", "writer"}}
_CONSTANT = (types.ModuleType, type, os.PathLike, keras.Layer, keras.Optimizer, keras.Loss)
# Which of two figures Keras' callbacks take for the better one: functions that they find late.
_BETTER = {"less": keras.ops.less, "greater": keras.ops.greater}
_SIMPLE = (type(None), bool, int, float, str)
_LARGEST_LOG = 1 << 24  # bytes of a log that are kept with the state


class Owner:
    """A callback, or a data set, whose state is kept."""

    def __init__(self, one: Any, name: str) -> None:
        self.one, self.name = one, name
        self._at_first = {key: value for key, value in vars(one).items() if _is_simple(value)}
        self._said: set[str] = set()

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.one).__qualname__

    def state(self) -> Any:
        """Its state: plain values and arrays that nobody changes any more."""
        if tells(self.one):
            return {"told": self._plain(self.one.state_dict())}
        skipped = _PASSED_OVER.union(
            *(names for cls, names in _OF_PROCESS.items() if isinstance(self.one, cls))
        )
        found = {
            key: value
            for key, value in vars(self.one).items()
            if key not in skipped and not self._is_as_at_first(key, value)
        }
        attributes = {
            key: self._plain(value) for key, value in found.items() if self._can(key, value)
        }
        state: dict[str, Any] = {"attributes": attributes}
        state["better"] = {
            key: name
            for key, value in found.items()
            for name, operation in _BETTER.items()
            if value is operation
        }
        if isinstance(self.one, keras.callbacks.CSVLogger):
            state["log"] = _read_log(self.one.filename)
        return state

    def restore(self, state: Any) -> None:
        """Puts back what ``state`` gave."""
        if "told" in state:
            self.one.load_state_dict(state["told"])
            return
        for key, value in state["attributes"].items():
            setattr(self.one, key, value)
        for key, name in state["better"].items():
            setattr(self.one, key, _BETTER[name])

    def _is_as_at_first(self, key: str, value: Any) -> bool:
        if key not in self._at_first or not _is_simple(value):
            return False
        first = self._at_first[key]
        return type(first) is type(value) and repr(first) == repr(value)

    def _plain(self, value: Any) -> Any:
        """A copy; the arrays of Keras' own callbacks are new ones each time, and need none."""
        arrays: list[Any] = []
        packed = tree.pack(value, arrays)
        if not is_keras_class(type(self.one)):
            arrays = [np.array(one) for one in arrays]
        return tree.unpack(packed, arrays)

    def _can(self, key: str, value: Any) -> bool:
        """Whether an attribute can be kept; one that cannot, and may change, is told of once."""
        try:
            tree.pack(value, [])
            return True
        except tree.NotPlain as error:
            constant = callable(value) or isinstance(value, _CONSTANT)
            if not constant and key not in self._said and not is_keras_class(type(self.one)):
                self._said.add(key)
                warnings.warn(
                    f"The checkpoints do not hold the attribute {key!r} of the {self.name} "
                    f"{self.kind}: {error} is nothing that they can hold. Give {self.kind} a "
                    "state_dict() and a load_state_dict(state).",
                    stacklevel=2,
                )
            return False


def tells(one: Any) -> bool:
    """Whether an object tells its state itself."""
    return callable(getattr(one, "state_dict", None)) and callable(
        getattr(one, "load_state_dict", None)
    )


def _is_simple(value: Any) -> bool:
    return type(value) in _SIMPLE


# CSVLogger begins its file anew ----------------------------------------------------------------


def _read_log(name: str) -> bytes | None:
    path = Path(name)
    if not path.is_file() or path.stat().st_size > _LARGEST_LOG:
        return None
    return path.read_bytes()


def continue_log(logger: Any, state: Any) -> None:
    """Before the run begins: the file as it was, to which the logger will append."""
    if state.get("log") is not None:
        content = state["log"]
        storage.write(logger.filename, lambda file: file.write(content))
        logger.append = True
