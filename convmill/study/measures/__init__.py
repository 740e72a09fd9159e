"""What can be measured of a trained net, by name. A measure is a plain function in a file beside
this one, with its words here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from convmill.study.measures import position, probe, scores, weights
from convmill.study.measures.trained import Measured, Trained
from convmill.study.result import Measure


@dataclass(frozen=True)
class Entry:
    """A measure: its words, what computes it, and what raises StudyError where a model, the height
    and width of its canvas or the arm's options do not allow it, before anything is trained."""

    measure: Measure
    function: Callable[[Trained], Measured]
    check: Callable[[Any, int | None, Mapping[str, Any]], None] = lambda *_: None


def _percent(
    name: str, label: str, higher_is_better: bool | None = True, share: bool = True
) -> Measure:
    return Measure(name, label, "%", 100.0, 2, higher_is_better, share=share)


_ENTRIES = (
    Entry(_percent("accuracy", "test accuracy"), scores.accuracy),
    Entry(
        _percent("best_accuracy", "best epoch's test accuracy"),
        scores.best_accuracy,
        scores.check_accuracy,
    ),
    Entry(Measure("loss", "test loss", "", 1.0, 4, False), scores.loss),
    Entry(_percent("train_accuracy", "training accuracy", None), scores.train_accuracy),
    Entry(_percent("gap", "training minus test accuracy", False, share=False), scores.gap),
    Entry(
        _percent("dip", "best epoch's minus final test accuracy", False),
        scores.dip,
        scores.check_accuracy,
    ),
    Entry(Measure("epoch_seconds", "time of an epoch", "s", 1.0, 2, False), scores.epoch_seconds),
    Entry(
        _percent("border_accuracy", "test accuracy at the border"),
        position.border_accuracy,
    ),
    Entry(
        _percent("position_accuracy", "test accuracy everywhere"),
        position.position_accuracy,
        position.check_canvas,
    ),
    Entry(
        _percent("window_accuracy", "test accuracy of a single window"),
        position.window_accuracy,
        position.check_pooling,
    ),
    Entry(
        _percent("probe_accuracy", "test accuracy of a linear probe"),
        probe.probe_accuracy,
        probe.check_convolution,
    ),
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
        weights.check_kernel,
    ),
    Entry(
        Measure("radius", "radius of what a first unit learned", "pixels", 1.0, 2),
        weights.radius,
        weights.check_kernel,
    ),
)
MEASURES = {entry.measure.name: entry for entry in _ENTRIES}
