"""Labels and sentences that the pictures of a study share."""

from __future__ import annotations

from collections.abc import Sequence

from convmill.study.result import Measure
from convmill.study.words import base_label

__all__ = ["axis_label", "base_label", "capital", "told"]


def axis_label(measure: Measure, *, difference: bool = False) -> str:
    """ "test accuracy, %", and of differences "test accuracy, points"."""
    unit = "points" if difference and measure.unit == "%" else measure.unit
    return f"{measure.label}, {unit}" if unit else measure.label


def told(what: str, sentences: Sequence[str]) -> str:
    """An alternative text: what a picture is of, and what is to be seen in it."""
    return f"{what}. {'; '.join(sentences)}."


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]
