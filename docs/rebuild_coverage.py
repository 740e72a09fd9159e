"""Writes docs/coverage.md: what of Keras is compiled, as the code says.

    python docs/rebuild_coverage.py

The figures and rows follow from ``convmill/plan/coverage.py`` and
``convmill/train/compilation/coverage.py``, which try each class; ``tests/test_coverage.py`` fails
where this file says something else than they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from convmill.plan import coverage as plan
from convmill.plan.coverage import Coverage
from convmill.train.compilation import coverage as compilation

PAGE = Path(__file__).parent / "coverage.md"
INTRODUCTION = """\
# What of Keras is compiled

Written by `make coverage` with Keras {version}: each public class was tried, with few arguments.

- **compiled**: native code computes it.
- **bridged**: native code does all but this. A loss: Keras computes the loss of a batch and its
  gradient from predictions (where it runs on JAX). An optimizer, a regularizer, a constraint: Keras
  makes the step from the gradients.
- **fed**: a metric of Keras' that is shown the predictions of native code.
- **Keras' own**: a model with it runs on Keras' path, with one line that says so.

Losses, metrics and optimizers of your own are bridged or fed.
"""
SECTIONS: tuple[tuple[str, str, Callable[[], list[Coverage]]], ...] = (
    ("Layers", "layer", plan.layers_of_keras),
    ("Arguments of layers", "layer", plan.declined),
    ("Activations", "function", plan.activations),
    ("Losses", "loss", compilation.losses),
    ("Metrics", "metric", compilation.metrics),
    ("Optimizers", "optimizer", compilation.optimizers),
    ("Regularizers of weights", "regularizer", compilation.regularizers),
    ("Constraints", "constraint", compilation.constraints),
)


def page() -> str:
    """All of it, as Markdown."""
    found = {title: (what, rows()) for title, what, rows in SECTIONS}
    parts = [INTRODUCTION.format(version=keras.__version__), *_summary(found)]
    for title, (what, rows) in found.items():
        parts += [f"\n## {title}\n", f"| {what} | where | why |", "|---|---|---|"]
        parts += [f"| {row.name} | {row.where} | {row.why} |" for row in rows]
    return "\n".join(parts) + "\n"


def _summary(found: dict[str, tuple[str, Sequence[Coverage]]]) -> list[str]:
    """How many of each kind run where."""
    places = ("compiled", "bridged", "fed", plan.KERAS)
    lines = [f"| | {' | '.join(places)} |", "|---|" + "---:|" * len(places)]
    for title, (_, rows) in found.items():
        if rows and title != "Arguments of layers":
            count = Counter(row.where for row in rows)
            lines.append(f"| {title} | {' | '.join(str(count[where]) for where in places)} |")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
