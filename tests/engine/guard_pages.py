"""Native code beside pages that may not be touched; run as ``python -m tests.engine.guard_pages``.

A read or a write outside an array ends this process: ``test_memory.py`` runs it as a child.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from convmill.plan.graph.parameters import Regularizer
from convmill.plan.recipe import Clip, Optimizer
from convmill.runtime import workers
from tests.engine.fences import protected
from tests.engine.nets import (
    WIDTHS,
    activate,
    assert_follows_twin,
    conv,
    data,
    dense,
    dropout,
    flatten,
    graph_of,
    parameters,
    pool,
    program_of,
    recipe_of,
    rescale,
)

NETS = [
    graph_of((7, 5, 1), conv(3), pool("max", (2, 2)), flatten, dense(5, "softmax")),
    graph_of(
        (8, 7, 3),
        rescale(0.5, 0.0),
        conv(17, (2, 2), padding="same", activation="gelu"),
        pool("max", (3, 3), (2, 2), "same"),
        conv(5, (3, 2), (2, 1), "same", "elu"),
        pool("average", (2, 2), (1, 1)),
        activate("softmax"),
        flatten,
        dense(19, "tanh"),
        dense(5, "softmax"),
    ),
    graph_of((3, 3, 33), conv(16, (1, 1)), conv(33, (3, 3)), flatten, dense(5, "softmax")),
    graph_of((1, 1, 7), flatten, dense(5, "softmax")),
]
DTYPES = ("uint8", "float32", "float64")


def check(number: int, width: str, at_end: bool) -> None:
    """One net in all types of images."""
    graph, recipe = NETS[number], recipe_of("sparse_categorical_crossentropy", accuracy="sparse")
    rng = np.random.default_rng(number)
    values = parameters(rng, graph, 0.01)
    program = program_of(graph, recipe, values, machine=WIDTHS[width])
    for dtype in DTYPES:
        sample = data(rng, graph, recipe.loss, 11, 9, dtype=dtype)
        with protected(at_end=at_end):
            assert_follows_twin(program, values, sample)
            program.predict(sample.x)


def check_optimizer(width: str, at_end: bool) -> None:
    """Slots, norms, penalties, dropout."""
    graph = graph_of(
        (5, 5, 1),
        conv(5, regularizer=Regularizer(l1=0.01)),
        dropout(0.5),
        flatten,
        dense(7, regularizer=Regularizer(l2=0.01)),
        dense(2),
    )
    optimizer = Optimizer("adam", amsgrad=True, weight_decay=0.1, clip=Clip("global_norm", 1.0))
    recipe = recipe_of("mean_squared_error", optimizer)
    rng = np.random.default_rng(0)
    program = program_of(graph, recipe, parameters(rng, graph), machine=WIDTHS[width], threads=3)
    sample = data(rng, graph, recipe.loss, 11, 4)
    with protected(at_end=at_end):
        record = program.train(sample.batches, np.full(3, 0.01), seeds=np.ones(1, np.uint64))
        program.evaluate(sample.batches)
    assert np.isfinite(record.loss).all()


def main() -> None:
    """All nets, vector widths and both sides."""
    for width in WIDTHS:
        for at_end in (True, False):
            for number in range(len(NETS)):
                check(number, width, at_end)
            check_optimizer(width, at_end)
    print("nothing outside was touched")


def trespass() -> None:
    """Predict with weights that are too few: native code reads behind them."""
    rng = np.random.default_rng(0)
    program = program_of(NETS[3], None, parameters(rng, NETS[3]))
    with protected(at_end=True), pytest.MonkeyPatch.context() as patch:
        beside_pages = workers.run

        def run(code: Any, context: Any, *others: Any) -> None:
            context["parameters"] = context.arrays["parameters"][:-16]
            beside_pages(code, context, *others)

        patch.setattr(workers, "run", run)
        program.predict(np.zeros((4, 1, 1, 7), np.float32))


if __name__ == "__main__":
    trespass() if sys.argv[1:] == ["--trespass"] else main()
