"""Native code of random nets beside pages that nobody may touch.

Each array that native code is handed ends where such a page begins, or begins where one ends: one
byte too far ends the process, which is told with its seed. What is computed there, in training and
in prediction, must be what is computed elsewhere, bit for bit, and what is only read must not be
written.
"""

from __future__ import annotations

import os
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
from tests.robust.fuzz.outcomes import RIGHT, Case, Fault, Result

MOST = 7  # layers, those of heads aside
FENCES = {
    "before a page": lambda: protected(at_end=True),
    "behind a page": lambda: protected(at_end=False),
    "between strips": fenced,
}


def begin(folder: Path) -> Case:
    """The cases."""

    def case(number: int) -> Result:
        rng = np.random.default_rng(number)
        net = draw(number, most=MOST, steps=2)
        fence = str(rng.choice(list(FENCES)))
        target, threads = str(rng.choice(list(host.targets()))), int(rng.choice((1, 2, 3, 7)))
        os.environ["CONVMILL_TARGET"] = target
        try:
            return one(net, fence, threads)
        except Exception as error:
            raise Fault(fence, f"{target}, {threads} threads: {error}\n{source(net)}") from error
        finally:
            jit.forget()

    return case


def one(net: Net, fence: str, threads: int) -> Result:
    """A net, elsewhere and there."""
    try:
        expected = computed(net, threads)
    except NotCovered:
        return Result(fence, "not covered")
    with FENCES[fence]():
        found = computed(net, threads)
    for name, value in expected.items():
        if not np.array_equal(value, found[name], equal_nan=True):
            raise AssertionError(f"other bits: {name}")
    return Result(fence, RIGHT)


def computed(net: Net, threads: int) -> dict[str, np.ndarray]:
    """Losses, predictions and weights of two steps and of what is done without training."""
    keras.utils.set_random_seed(1)
    model: Any = convmill.accelerate(build(net), strict=True, threads=threads)
    model.set_weights(start(model, 0))
    found = {}
    for step, (x, y, weights) in enumerate(data(model, net, 0, "float32")):
        found[f"loss {step}"] = np.ravel(model.train_on_batch(x, y, weights))
        found[f"test {step}"] = np.ravel(model.test_on_batch(x, y, weights))
        for number, output in enumerate(keras.tree.flatten(model.predict_on_batch(x))):
            found[f"prediction {step}, {number}"] = np.asarray(output)
    found |= {f"weight {number}": one for number, one in enumerate(model.get_weights())}
    return found
