"""How a model takes what it reads and gives what it computes: one tensor, or lists and dicts of
them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from convmill.plan.walk import walk


class Unfit(ValueError):
    """Values that are not of the structure of a model's ends."""


@dataclass(frozen=True)
class Ends:
    """The inputs or the outputs of a model, in the order of its graph.

    ``structure`` is the number 0 where there is one of them, else a list, tuple or dict (or several
    of these, in one another) of the numbers of all; ``names`` are those of the layers behind them.
    """

    names: tuple[str, ...]
    structure: Any

    def __len__(self) -> int:
        return len(self.names)

    @property
    def keys(self) -> tuple[Any, ...]:
        """What a dict may hold them by, in their order: its own keys, or the layers' names."""
        if not isinstance(self.structure, Mapping) or len(self.structure) != len(self):
            return self.names
        return tuple(sorted(self.structure, key=self.structure.__getitem__))

    def title(self, argument: str, number: int) -> str:
        """What an argument's array for one of them is called in errors."""
        return argument if len(self) == 1 else f"{argument}[{self.keys[number]!r}]"

    def pack(self, values: Sequence[Any]) -> Any:
        """One value for each of them, in the model's own structure."""
        if self.structure == 0:
            (value,) = values
            return value
        return keras.tree.pack_sequence_as(self.structure, list(values))

    def flat(self, values: Any) -> list[Any]:
        """What stands at the place of each of them; values that are themselves lists or dicts stay.

        Raises Unfit where ``values`` have another structure; lists and tuples count as the same.
        """
        found = dict(_along(self.structure, values))
        return [found[number] for number in range(len(self))]


ONE = Ends(("",), 0)


def ends_of(tensors: Any) -> Ends:
    """The Ends of a model whose inputs or outputs are ``tensors``, in the structure in which the
    user gave them. Keras takes one in a list for that one."""
    flat = keras.tree.flatten(tensors)
    structure: Any = keras.tree.pack_sequence_as(tensors, list(range(len(flat))))
    if isinstance(structure, list | tuple) and len(structure) == 1:
        structure = structure[0]
    return Ends(tuple(tensor._keras_history.operation.name for tensor in flat), structure)


def _along(structure: Any, values: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(structure, Mapping):
        if not isinstance(values, Mapping) or set(values) != set(structure):
            raise Unfit
        for key, inner in structure.items():
            yield from _along(inner, values[key])
    elif isinstance(structure, list | tuple):
        if not isinstance(values, list | tuple) or len(values) != len(structure):
            raise Unfit
        for inner, value in zip(structure, values, strict=True):
            yield from _along(inner, value)
    else:
        yield structure, values


def last_activation(model: Any) -> str:
    """The name of the activation of the layer that gives the (first) output; "" where it has
    none."""
    graph = walk(model)
    last = next(call.layer for call in graph.calls if call.name == graph.outputs[0])
    return getattr(getattr(last, "activation", None), "__name__", "")
