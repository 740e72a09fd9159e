"""The page of one training: how well the net learned, what it gets wrong, and how it was run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from convmill.inspection.document import Column, Table
from convmill.inspection.numbers import plural
from convmill.inspection.report import inspect
from convmill.page.document import Block, Download, Figure, Listing, Page, Section
from convmill.page.drawings import figure
from convmill.plan.refusals import NotCovered
from convmill.view.confusion_matrix import confusion_counts, draw_confusion, recalls
from convmill.view.histories import RATES, VALIDATION
from convmill.view.learning_curves import learning_curves
from convmill.view.mistakes import draw_mistakes, rank_mistakes
from convmill.view.predictions import Predictions, classify
from convmill.view.reliability import wilson
from convmill.view.text import percent

MOST_CLASSES = 30  # in the table; the confusion matrix has them all
LARGEST_RANK = 4  # of the columns that tell what a net is
ONE_SEED = (
    "One training with one seed: another one would give another net, and another figure. What "
    "differs between two designs takes several seeds of each."
)
DASH = "\N{EN DASH}"

History = Mapping[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class Training:
    """What one training left.

    Attributes:
        model: the trained Keras model.
        data: the name of the data set.
        x, y: its test images and their classes, as ``convmill.view.predictions.classify`` takes
            them, with ``class_names``.
        training_images: how many it learned from.
        history: what ``fit`` left: numbers of each epoch.
        scores: of the test images, by name.
        how: names and values of how it was run.
        raw: all of it as JSON.
    """

    model: Any
    data: str
    x: Any
    y: Any
    class_names: tuple[str, ...]
    training_images: int
    history: History
    scores: Mapping[str, float]
    how: tuple[tuple[str, str], ...]
    raw: str


def training_page(training: Training) -> Page:
    """What there is to say of one training.

    Where the net is no classifier of one input and one output, its scores stand alone.
    """
    epochs = max(map(len, training.history.values()), default=0)
    found, images, reason = None, None, ""
    try:
        found, images = classify(training.model, training.x, training.y, training.class_names)
    except ValueError as error:
        reason = f"What it gets wrong is not shown. {error}"
    sections = [Section("How it learned", tuple(_learning(training)))]
    if found is None or images is None:
        sections.append(Section("What it gets wrong", (reason,)))
    else:
        sections.append(Section("Which classes it takes for which", tuple(_classes(found))))
        sections.append(Section("What it gets most wrong", tuple(_mistakes(found, images))))
    sections.extend(_net(training.model))
    return Page(
        title=f"A net trained on {training.data}",
        question=(
            f"How well does a net of {training.model.count_params():,} parameters tell the "
            f"{len(training.class_names)} classes of {training.data} apart after "
            f"{plural(epochs, 'epoch')} on {plural(training.training_images, 'image')}?"
        ),
        answer=_answer(training, found),
        sections=tuple(sections),
        how=training.how,
        downloads=(
            Download("history.csv", history_csv(training.history)),
            Download("run.json", training.raw),
        ),
    )


def _answer(training: Training, found: Predictions | None) -> str:
    if found is None:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in training.scores.items())
        return f"On images that it has not seen: {scores}."
    right, total = int(found.correct.sum()), len(found.correct)
    low, high = (percent(float(end), 2) for end in wilson(right, total))
    return (
        f"It gets {percent(right / total, 2)} of {plural(total, 'image')} right that it has not "
        f"seen ({right:,} of {total:,}; 95 % interval {low} to {high} for such images)."
    )


# How it learned ---------------------------------------------------------------------------------


def _learning(training: Training) -> Iterator[Block]:
    history = dict(training.history)
    try:
        yield figure(
            partial(learning_curves, history),
            f"Learning curves. {_curves_in_words(history)}",
        )
    except ValueError as error:
        yield f"There are no curves. {error}"
    yield Listing("The net's figures on each kind of images", _scores(training))
    yield ONE_SEED


def _curves_in_words(history: History) -> str:
    """From where to where each figure goes."""
    sentences = []
    for name, values in history.items():
        if len(values) and name not in RATES:
            which = "on validation data" if name.startswith(VALIDATION) else "in training"
            ends = f"from {values[0]:.4g} to {values[-1]:.4g}"
            sentences.append(f"{name.removeprefix(VALIDATION)} {which} goes {ends}")
    return "; ".join(sentences) + "."


def _scores(training: Training) -> Table:
    """The last epoch's figures beside those of the test images."""
    history = training.history
    names = [name for name in history if not name.startswith(VALIDATION) and name not in RATES]
    validated = any(name.startswith(VALIDATION) for name in history)
    columns = ["training,\nlast epoch", *["validation,\nlast epoch"] * validated, "test"]
    rows = []
    for name in sorted(dict.fromkeys([*names, *training.scores]), key=lambda name: name != "loss"):
        places = [_last(history.get(name)), *[_last(history.get(VALIDATION + name))] * validated]
        values = [*places, training.scores.get(name)]
        rows.append((name, *(DASH if value is None else f"{value:.4f}" for value in values)))
    return Table((Column("figure", right=False), *map(Column, columns)), tuple(rows))


def _last(values: Sequence[float] | None) -> float | None:
    return values[-1] if values is not None and len(values) else None


# What it gets wrong -----------------------------------------------------------------------------


def _classes(found: Predictions) -> Iterator[Block]:
    counts = confusion_counts(found.labels, found.predicted, len(found.class_names))
    yield figure(
        partial(draw_confusion, found),
        "Matrix of true against predicted classes; the table below tells the same of each class.",
        narrow=False,
    )
    shares = recalls(counts)
    # Classes without images last; of equals in their order.
    order = np.argsort(np.where(np.isnan(shares), 2.0, shares), kind="stable").tolist()
    rows = []
    for label in order[:MOST_CLASSES]:
        name, images = found.class_names[label], int(counts[label].sum())
        recall = percent(float(shares[label])) if images else DASH
        rows.append((name, f"{images:,}", f"{counts[label, label]:,}", recall,
                     _most_often_for(counts[label], label, found.class_names)))  # fmt: skip
    table = Table(
        (
            Column("class", right=False),
            *map(Column, ("images", "right", "recall")),
            Column("mostly\ntaken for", right=False),
        ),
        tuple(rows),
    )
    several = len(order) > MOST_CLASSES
    which = f"The {MOST_CLASSES} classes of {len(order)}" if several else "The classes"
    yield Listing(f"{which}, the least recognised first", table)


def _most_often_for(row: Any, label: int, names: Sequence[str]) -> str:
    """The class that images of a class are most often taken for, with how many are."""
    others = np.where(np.arange(len(row)) == label, 0, row)
    most = int(np.argmax(others))
    return f"{names[most]} ({others[most]:,})" if others[most] else DASH


def _mistakes(found: Predictions, images: Any) -> Iterator[Block]:
    try:
        yield _mistakes_figure(found, images)
    except ValueError as error:
        yield f"Its mistakes cannot be drawn. {error}"


def _mistakes_figure(found: Predictions, images: Any) -> Figure:
    ranked = rank_mistakes(found.probabilities, found.labels)
    are = "is" if len(ranked) == 1 else "are"
    wrong = plural(len(ranked), "test image")
    said = f"{wrong} of {len(found.labels):,} {are} taken for another class"
    for index in ranked[:1].tolist():
        true, taken = (found.class_names[each[index]] for each in (found.labels, found.predicted))
        sure = percent(float(found.confidence[index]))
        said += f". The most wrong, number {index}, is {true} and is taken for {taken} with {sure}"
    return figure(partial(draw_mistakes, found, images), f"{said}.")


# What it is -------------------------------------------------------------------------------------


def _net(model: Any) -> Iterator[Section]:
    """The layers, where Keras can describe them."""
    try:
        document = inspect(model).document()
    except (ValueError, NotCovered):
        return
    table = document.tables[0]
    kept = [place for place, column in enumerate(table.columns) if column.rank <= LARGEST_RANK]
    columns = tuple(table.columns[place] for place in kept)
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    yield Section("What the net is", (Listing("Its layers", Table(columns, rows)),))


# Raw numbers ------------------------------------------------------------------------------------


def history_csv(history: History) -> str:
    """One line an epoch, counted from 1; what was not measured, or is not finite, is empty."""
    names = [name for name, values in history.items() if len(values)]
    epochs = max((len(history[name]) for name in names), default=0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *names])
    for epoch in range(epochs):
        values = [history[name][epoch] if epoch < len(history[name]) else None for name in names]
        writer.writerow([epoch + 1, *("" if not _finite(value) else value for value in values)])
    return text.getvalue()


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)
