"""The random numbers of a run: Keras' seed generators, and what native code makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convmill.train import late

# Odd constants of SplitMix64 (Steele, Lea and Flood 2014), which turns close seeds into far ones.
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BITS_64 = (1 << 64) - 1


@dataclass(frozen=True)
class Seeds:
    """The generator of each call that draws, of which several may share one, as it was before a
    run: its ``states`` (seed, uses), and how often a step ``draws`` from it. ``first`` counts the
    optimizer's steps before."""

    generators: tuple[Any, ...]
    states: tuple[np.ndarray, ...]
    draws: tuple[int, ...]
    first: int

    def of_calls(self) -> np.ndarray:
        """One uint64 for each call, from its generator's seed and how often that was used.

        A Program mixes the number of the step into each mask. So the seed holds only by how much
        the generator's uses exceed the optimizer's steps: masks do not depend on how many calls an
        epoch is cut into, and differ in a second fit with a new optimizer. Calls that share a
        generator differ by their place among its calls.
        """
        seeds, calls = [], Counter[int]()
        found = zip(self.generators, self.states, self.draws, strict=True)
        for generator, (seed, uses), draws in found:
            ahead = (int(uses) - draws * self.first) & 0xFFFFFFFF
            value = ((int(seed) & 0xFFFFFFFF) << 32) | ahead
            seeds.append(_mix(value + calls[id(generator)] * _GOLDEN))
            calls[id(generator)] += 1
        return np.array(seeds, np.uint64)

    @property
    def variables(self) -> list[Any]:
        """What ``write`` writes to."""
        return [generator.state for generator in self.generators]

    def after(self, steps: int) -> list[np.ndarray]:
        """What ``variables`` hold once so many steps have drawn from them."""
        return [
            np.array([seed, uses + np.asarray(draws * steps, uses.dtype)], uses.dtype)
            for (seed, uses), draws in zip(self.states, self.draws, strict=True)
        ]

    def write(self, steps: int, always: Sequence[bool] | None = None) -> None:
        """Tells Keras' generators how often so many steps have drawn from them; those alone for
        which ``always`` says so, where it is given."""
        found = zip(self.variables, self.after(steps), strict=True)
        for number, (variable, state) in enumerate(found):
            if always is None or always[number]:
                late.assign(variable, state)


def read_seeds(layers: Sequence[Any], draws: Sequence[int], first: int) -> Seeds:
    """The Seeds of calls of ``layers`` that draw so often in a step."""
    generators = tuple(_generator(layer) for layer in layers)
    total = Counter[int]()
    for generator, count in zip(generators, draws, strict=True):
        total[id(generator)] += count
    return Seeds(
        generators,
        tuple(np.array(keras.ops.convert_to_numpy(one.state)) for one in generators),
        tuple(total[id(generator)] for generator in generators),
        first,
    )


def _generator(layer: Any) -> Any:
    """The seeds of a layer; those that change images call it otherwise."""
    if isinstance(layer, keras.random.SeedGenerator):  # of a call that draws by itself
        return layer
    return getattr(layer, "seed_generator", None) or layer.generator


def _mix(value: int) -> int:
    """SplitMix64's output function: a bijection of 64 bits in which each bit moves half."""
    value = (value + _GOLDEN) & _BITS_64
    value = ((value ^ (value >> 30)) * _MIX_1) & _BITS_64
    value = ((value ^ (value >> 27)) * _MIX_2) & _BITS_64
    return value ^ (value >> 31)
