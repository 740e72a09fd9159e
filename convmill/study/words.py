"""What was found, in plain sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from convmill.inspection.numbers import decimal
from convmill.study.result import Arm, Comparison, Measure, Summary
from convmill.study.statistics import LEVEL


def shown(measure: Measure, value: float) -> str:
    """A value with its unit: "99.12 %", "3.4 s"; what is not finite has none."""
    if not math.isfinite(value):
        return "not finite"
    return _with_unit(decimal(value * measure.scale, measure.decimals), measure.unit)


def difference(measure: Measure, value: float) -> str:
    """A difference with its unit, without its sign: of what is shown in %, "0.21 points"."""
    if not math.isfinite(value):
        return "not finite"
    return _with_unit(decimal(abs(value) * measure.scale, measure.decimals), _unit(measure))


def mean_and_interval(measure: Measure, summary: Summary) -> str:
    """A mean with its interval: "99.12 % [99.02, 99.22]", without one of a single run."""
    return shown(measure, summary.mean) + brackets(measure, summary.low, summary.high)


def brackets(measure: Measure, low: float, high: float) -> str:
    """ " [0.15, 0.27]", or nothing where there is no interval."""
    if math.isnan(low):
        return ""
    ends = (decimal(end * measure.scale, measure.decimals) for end in (low, high))
    return f" [{', '.join(ends)}]"


def place(at: float | None) -> str:
    """Where on what varies: "60,000", "0.5"."""
    return "" if at is None else f"{at:,.0f}" if float(at).is_integer() else f"{at:,}"


def sentence(comparison: Comparison, measure: Measure, labels: Mapping[str, str]) -> str:
    """One comparison in words."""
    first, second = labels[comparison.first], labels[comparison.second]
    n = f"n = {comparison.n} pair{'' if comparison.n == 1 else 's'}"
    if not math.isfinite(comparison.difference):
        return f"{first} and {second} are not compared in {measure.label}: not all runs are finite"
    if math.isnan(comparison.corrected_p):  # no test was made
        amount = f"{signed(measure, comparison.difference)} in {measure.label}"
        if comparison.n < 2:
            return f"{first} minus {second}: {amount}; one pair shows no more ({n})"
        return f"{first} minus {second}: {amount} in every pair; too few pairs to tell ({n})"
    if comparison.difference == comparison.low == comparison.high == 0:
        return f"{first} and {second} are equal in {measure.label} in every pair, {n}"
    if not comparison.corrected_p < LEVEL:
        return _not_found(comparison, measure, first, second)
    verb = _verb(measure, comparison.difference)
    if verb == "beats" and second_is_ahead(comparison, measure):
        first, second = second, first
    return f"{first} {verb} {second} by {unsigned(comparison, measure)} in {measure.label}, {n}"


def second_is_ahead(comparison: Comparison, measure: Measure) -> bool:
    """Whether the second is the better one, or the greater one where neither is better."""
    return (comparison.difference < 0) != (measure.higher_is_better is False)


def unsigned(comparison: Comparison, measure: Measure) -> str:
    """How far apart two arms are, without a sign: "0.21 points [0.15, 0.27]"."""
    low, high = comparison.low, comparison.high
    if comparison.difference < 0:
        low, high = -high, -low
    return f"{difference(measure, comparison.difference)}{brackets(measure, low, high)}"


def joined(sentences: Sequence[str], names: Sequence[str] = ()) -> str:
    """Sentences one after another, each with a full stop, and a capital unless it begins with one
    of the ``names``, which keep their letters."""
    return " ".join(f"{_begun(one, names)}." for one in sentences)


def _begun(text: str, names: Sequence[str]) -> str:
    if any(re.match(rf"{re.escape(name)}(?!\w)", text) for name in names):
        return text
    return f"{text[:1].upper()}{text[1:]}"


def own_names(arms: Sequence[Arm]) -> list[str]:
    """What arms are called that have no label but their name in the study's file."""
    return [base_label(arm) for arm in arms if base_label(arm) == arm.base]


def base_label(arm: Arm) -> str:
    """The label of an arm, without the value of what varies."""
    if arm.at is None:
        return arm.label
    return arm.label.rpartition(" at ")[0] or arm.label


def _verb(measure: Measure, value: float) -> str:
    if measure.higher_is_better is not None:
        return "beats"
    return "is above" if value > 0 else "is below"


def _not_found(comparison: Comparison, measure: Measure, first: str, second: str) -> str:
    interval = brackets(measure, comparison.low, comparison.high).strip()
    amount = signed(measure, comparison.difference)
    corrected = ", not enough after Holm's correction" if comparison.p < LEVEL else ""
    return (
        f"no difference in {measure.label} was found between {first} and {second} at n = "
        f"{comparison.n} ({amount} {interval}{corrected}); {_seen(comparison, measure)}"
    )


def _seen(comparison: Comparison, measure: Measure) -> str:
    if not can_see(comparison, measure):
        return "so few pairs could have seen none, however large"
    amount = difference(measure, comparison.detectable)
    return f"one of {amount} would have been seen with 80 % probability"


def can_see(comparison: Comparison, measure: Measure) -> bool:
    """Whether the smallest difference that would have been seen is one that can be."""
    return comparison.detectable <= (1.0 if measure.share else math.inf)


def signed(measure: Measure, value: float) -> str:
    """A difference with its unit and sign: "+0.21 points"; "not finite" where it is not."""
    if not math.isfinite(value):
        return "not finite"
    return _with_unit(decimal(value * measure.scale, measure.decimals, "+"), _unit(measure))


def _unit(measure: Measure) -> str:
    """That of a difference."""
    return "points" if measure.unit == "%" else measure.unit


def _with_unit(number: str, unit: str) -> str:
    return f"{number} {unit}" if unit else number
