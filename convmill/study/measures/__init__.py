"""What can be measured of a trained net, by name. A measure is a plain function in a file beside
this one, with its words here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convmill.study.measures import position, probe, scores, weights
from convmill.study.measures.trained import Measured, Trained
from convmill.study.result import Measure


@dataclass(frozen=True)
class Entry:
    """A measure: its words, and what computes it."""

    measure: Measure
    function: Callable[[Trained], Measured]


def _percent(name: str, label: str, higher_is_better: bool | None = True) -> Measure:
    return Measure(name, label, "%", 100.0, 2, higher_is_better)


_ENTRIES = (
    Entry(_percent("accuracy", "test accuracy"), scores.accuracy),
    Entry(_percent("best_accuracy", "best epoch's test accuracy"), scores.best_accuracy),
    Entry(Measure("loss", "test loss", "", 1.0, 4, False), scores.loss),
    Entry(_percent("train_accuracy", "training accuracy", None), scores.train_accuracy),
    Entry(_percent("gap", "training minus test accuracy", False), scores.gap),
    Entry(_percent("dip", "best epoch's minus final test accuracy", False), scores.dip),
    Entry(Measure("epoch_seconds", "time of an epoch", "s", 1.0, 2, False), scores.epoch_seconds),
    Entry(
        _percent("border_accuracy", "test accuracy at the border"),
        position.border_accuracy,
    ),
    Entry(
        _percent("position_accuracy", "test accuracy everywhere"),
        position.position_accuracy,
    ),
    Entry(
        _percent("window_accuracy", "test accuracy of a single window"), position.window_accuracy
    ),
    Entry(_percent("probe_accuracy", "test accuracy of a linear probe"), probe.probe_accuracy),
    Entry(
        Measure(
            "extent",
            "extent of what a first unit learned",
            "pixels",
            1.0,
            1,
            map_label="mean squared change of first weights",
        ),
        weights.extent,
    ),
    Entry(
        Measure("radius", "radius of what a first unit learned", "pixels", 1.0, 2), weights.radius
    ),
)
MEASURES = {entry.measure.name: entry for entry in _ENTRIES}
