"""Native code of random nets beside pages that nobody may touch.

Each array that native code is handed ends where such a page begins, or begins where one ends: one
byte too far ends the process, which is told with its seed. What is computed there, in training and
in prediction, must be what is computed elsewhere, bit for bit, and what is only read must not be
written. A net is compiled once, and goes through many batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import convmill
from convmill.plan.refusals import NotCovered
from convmill.runtime import host, jit
from tests.engine.fences import fenced, protected
from tests.random_graphs.compare import data
from tests.random_graphs.draw import draw
from tests.random_graphs.net import Net, build, source, start
from tests.robust.fuzz.forms import pick
from tests.robust.fuzz.outcomes import RIGHT, Case, Fault, Result
from tests.robust.fuzz.state import State, same_bits

MOST = 7  # layers, those of heads aside
EACH = 128  # inputs of a net
TRIES = 10  # nets that are drawn for one that is compiled
MOST_IMAGES = 9
METHODS = ("train_on_batch", "test_on_batch", "predict_on_batch")
FENCES: dict[str, Callable[[], Any]] = {
    "before a page": lambda: protected(at_end=True),
    "behind a page": lambda: protected(at_end=False),
    "between strips": fenced,
}


@dataclass(frozen=True)
class Compiled:
    """A net and its model, as it is behind two steps, for a target and so many threads."""

    net: Net
    target: str
    threads: int
    model: Any
    state: State


def begin(folder: Path) -> Case:
    """The cases; ``EACH`` numbers on end share a net."""
    made: dict[int, Compiled] = {}

    def case(number: int) -> Result:
        of = number // EACH
        if of not in made:
            made.clear()
            jit.forget()
            made[of] = compiled(of)
        rng = np.random.default_rng(number)
        fence, method = pick(rng, tuple(FENCES)), pick(rng, METHODS)
        try:
            return one(made[of], number, fence, method)
        except Exception as error:
            net, on = made[of].net, f"{made[of].target}, {made[of].threads} threads"
            raise Fault(fence, f"{on}, {method}: {error}\n{source(net)}") from error

    return case


def compiled(number: int) -> Compiled:
    """The net of a number."""
    rng = np.random.default_rng(number)
    target, threads = pick(rng, tuple(host.targets())), pick(rng, (1, 2, 3, 7))
    os.environ["CONVMILL_TARGET"] = target
    for seed in range(number * TRIES, (number + 1) * TRIES):
        net = draw(seed, most=MOST, steps=2)
        try:
            model: Any = convmill.accelerate(build(net), strict=True, threads=threads)
            model.set_weights(start(model, 0))
            for step in data(model, net, 0, "float32"):
                model.train_on_batch(*step)
        except NotCovered:
            continue
        return Compiled(net, target, threads, model, State(model))
    raise ValueError(f"no net is compiled of seeds from {number * TRIES} on")


def one(given: Compiled, number: int, fence: str, method: str) -> Result:
    """A batch, elsewhere and there."""
    count = 1 + number % MOST_IMAGES
    (batch,) = data(given.model, replace(given.net, batches=(count,)), number, "float32")
    arrays = batch[:1] if method == "predict_on_batch" else batch
    expected = _computed(given, method, arrays)
    with FENCES[fence]():
        found = _computed(given, method, arrays)
    if not same_bits(found, expected):
        raise AssertionError(f"other bits, of {count} images")
    return Result(f"{method}, {fence}", RIGHT)


def _computed(given: Compiled, method: str, arrays: Any) -> list[np.ndarray]:
    """What a method returns, and the weights behind it."""
    given.state.restore()
    found = keras.tree.flatten(getattr(given.model, method)(*arrays))
    return [*map(np.asarray, found), *given.model.get_weights()]
