"""What following a call gives: a Trace, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from convmill.plan.added import Term
from convmill.plan.drawn import Drawn


class Untraceable(Exception):
    """A call that cannot be followed, and why."""


@dataclass(frozen=True, eq=False)
class Trace:
    """The graph of a call, with the ends that a model has. ``weights`` has the Keras variable that
    each of the other inputs of ``function`` stands for, by the symbol's id; ``losses`` are what the
    call adds to the loss, outputs of ``function`` behind the others; ``draws`` are its random
    numbers, inputs behind the weights."""

    layer: Any
    inputs: list[Any]
    outputs: list[Any]
    function: Any
    weights: dict[int, Any]
    input: Any  # in lists and dicts, as the call has them
    output: Any
    losses: list[Term]
    draws: list[tuple[Any, Drawn]]


@dataclass(frozen=True, eq=False)
class Given:
    """What a layer is called with."""

    positional: tuple[Any, ...]
    named: dict[str, Any]

    @property
    def symbols(self) -> list[Any]:
        """Those in the place of tensors, each once."""
        flat = keras.tree.flatten((self.positional, self.named))
        found = [each for each in flat if isinstance(each, keras.KerasTensor)]
        return list({id(each): each for each in found}.values())

    def filled(self, values: Sequence[Any]) -> tuple[Any, Any]:
        """The same with ``values`` in the place of the symbols."""
        by_id = dict(zip(map(id, self.symbols), values, strict=True))
        filled: tuple[Any, Any] = keras.tree.map_structure(
            lambda each: by_id.get(id(each), each), (self.positional, self.named)
        )
        return filled
