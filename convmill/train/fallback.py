"""What is said where Keras takes over because the compiler does not cover something."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from convmill.plan.refusals import DataNotCovered, NotCovered
from convmill.printing import say
from convmill.reasons import reason_of
from convmill.train.arrays import for_jax, in_native_order
from convmill.train.session import Session


def remark(current: Session, note: str, model: Any) -> None:
    """Says once for each model what is computed otherwise than asked for."""
    if note not in current.said:
        current.said.add(note)
        say(f"convmill: {model.name}: {note}.", sys.stderr)


def fall_back(current: Session, gap: NotCovered, model: Any) -> None:
    """Says once for each reason that Keras takes over; raises where the model is strict."""
    if current.is_strict:
        raise gap
    if gap.reason in current.said:
        return
    current.said.add(gap.reason)
    say(
        f"convmill: {model.name} runs on Keras' own path. Not covered: {gap}.",
        sys.stderr,
    )


# Arguments that hold arrays.
_DATA = ("x", "y", "sample_weight", "validation_data")


def readable(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments for Keras, with arrays that say on JAX, too, what they say: a step that JAX has
    compiled takes the bytes of another byte order as they are, and cuts whole numbers to 32 bits,
    without a word."""
    given = {name: arguments[name] for name in _DATA if name in arguments}
    return {**arguments, **keras.tree.map_structure(_as_jax_takes, given)}


def _as_jax_takes(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray):
        return leaf
    return for_jax(leaf) if keras.backend.backend() == "jax" else in_native_order(leaf)


# Those whose words tell nothing of what the user passed.
_LIBRARIES = ("jax", "jaxlib", "keras", "numpy", "optree", "tree")


@contextmanager
def told(gap: NotCovered) -> Iterator[None]:
    """Within, Keras runs what is not covered. Where it cannot take data that the compiler does not
    take either, one ValueError says so, and not the libraries alone. What comes out of callbacks,
    and of other code of the user's, is raised as it is."""
    try:
        yield
    except Exception as error:
        if isinstance(gap, DataNotCovered) and _is_of_libraries(error):
            raise ValueError(
                f"{gap.remedy[:1].upper()}{gap.remedy[1:]}. Received: {gap.reason}, which neither "
                f"convmill nor Keras can take. Keras says: {reason_of(error)}"
            ) from error
        raise


def _is_of_libraries(error: BaseException) -> bool:
    """Whether an error arose in the libraries, and came through nothing but them and ourselves."""
    frames = traceback.walk_tb(error.__traceback__)
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in frames]
    packages = [module.partition(".")[0] for module in modules]
    known = {*_LIBRARIES, "convmill", *sys.stdlib_module_names}
    called_back = any(module.startswith("keras.src.callbacks") for module in modules)
    return packages[-1] in _LIBRARIES and known.issuperset(packages) and not called_back
