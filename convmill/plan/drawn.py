"""Random numbers that a ``call`` draws by itself, with ``keras.random``: told apart while it is
followed, and fed to what came out while both are compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras

from convmill.threads import lock_over_forks

DrawKind = Literal["normal", "uniform"]
# The arguments of a draw behind its shape, with Keras' defaults.
_ARGUMENTS: dict[DrawKind, dict[str, float]] = {
    "normal": {"mean": 0.0, "stddev": 1.0},
    "uniform": {"minval": 0.0, "maxval": 1.0},
}
# What Keras' functions call, whoever has imported them by what name.
_BACKEND = keras.random.normal.__globals__["backend"].random
_one_at_a_time = lock_over_forks()


@dataclass(frozen=True, eq=False)
class Drawn:
    """One draw of a call: mean and deviation, or lower and upper end, of numbers for each image."""

    kind: DrawKind
    first: float
    second: float
    generator: Any  # Keras' SeedGenerator
    number: int  # among the draws of the call


class Tape:
    """The draws of a call that is followed: ``found`` has them, each with its symbol."""

    def __init__(self) -> None:
        self.found: list[tuple[Any, Drawn]] = []

    def draw(self, kind: DrawKind, original: Any, shape: Any, given: dict[str, Any]) -> Any:
        """A symbol for numbers of each image, by a generator; else what Keras makes of it."""
        first, second = (given[name] for name in _ARGUMENTS[kind])
        known = (
            len(shape) > 0
            and shape[0] is None
            and all(isinstance(size, int) for size in shape[1:])
            and all(isinstance(one, int | float) for one in (first, second))
            and isinstance(given["seed"], keras.random.SeedGenerator)
            and given["dtype"] in (None, "float32")
        )
        if not known:
            return original(shape, **given)
        symbol = keras.KerasTensor(tuple(shape), "float32")
        one = Drawn(kind, float(first), float(second), given["seed"], len(self.found))
        self.found.append((symbol, one))
        return symbol


class Record:
    """The numbers that a call has drawn."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def draw(self, kind: DrawKind, original: Any, shape: Any, given: dict[str, Any]) -> Any:
        """What Keras draws."""
        self.values.append(original(shape, **given))
        return self.values[-1]


@contextmanager
def drawing(by: Tape | Record) -> Iterator[None]:
    """Within, what this thread draws goes through ``by``."""
    owner = threading.get_ident()

    def replaced(kind: DrawKind, original: Any) -> Callable[..., Any]:
        names = (*_ARGUMENTS[kind], "dtype", "seed")

        def draw(shape: Any, *positional: Any, **named: Any) -> Any:
            if threading.get_ident() != owner:
                return original(shape, *positional, **named)
            given = {"dtype": None, "seed": None, **_ARGUMENTS[kind]}
            given |= dict(zip(names, positional, strict=False)) | named
            return by.draw(kind, original, shape, given)

        return draw

    with _one_at_a_time:
        before = {kind: getattr(_BACKEND, kind) for kind in _ARGUMENTS}
        try:
            for kind, original in before.items():
                setattr(_BACKEND, kind, replaced(kind, original))
            yield
        finally:
            for kind, original in before.items():
                setattr(_BACKEND, kind, original)
