"""Figures for people: counts, bytes, seconds, shares and shapes."""

from __future__ import annotations

from collections.abc import Sequence

EXACT_BELOW = 1_000_000
MINUS = "\N{MINUS SIGN}"  # as long as a plus


def count(value: float) -> str:
    """A count: all its digits below a million, else four of them."""
    if value < EXACT_BELOW:
        return f"{round(value):,}"
    for unit, size in (("T", 1e12), ("G", 1e9)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value / 1e6:.4g} M"


def decimal(value: float, decimals: int, sign: str = "") -> str:
    """A number with so many decimals, thousands apart; ``sign``: "+" writes that of numbers above 0
    as well. One that is rounded to 0 has none."""
    text = f"{value:{sign},.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def in_bytes(value: float) -> str:
    """Bytes, in units of 1,000."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            digits = f"{value / size:.3g}" if value < 100 * size else f"{value / size:.0f}"
            return f"{digits} {unit}"
    return f"{value:.0f} B"


def seconds(value: float) -> str:
    """A duration."""
    if value >= 1:
        return f"{value:.3g} s"
    return f"{1e3 * value:.3g} ms" if value >= 1e-5 else "<0.01 ms"


def percent(share: float, digits: int | None = None) -> str:
    """A share of 1 in percent: to three digits, or with as many decimals as ``digits`` says.

    One that is not quite 0 or 1 is not rounded to it: <0.1 %, >99.9 %.
    """
    decimals = 1 if digits is None else digits
    text = f"{100 * share:.3g}" if digits is None else f"{100 * share:.{digits}f}"
    if share > 0 and float(text) == 0:
        text = f"<{10.0**-decimals:.{decimals}f}"
    elif share < 1 and float(text) == 100:
        text = f">{100 - 10.0**-decimals:.{decimals}f}"
    return f"{text} %"


AT_LEAST, AT_LEAST_SHORT = "at least ", ">= "  # in a sentence, in a table


def times(sizes: Sequence[int]) -> str:
    """Sizes with a cross between them: 28x28x1."""
    return "x".join(map(str, sizes))


def plural(number: int, word: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def listed(names: Sequence[str], most: int = 3) -> str:
    """``a, b and c``; of more than ``most`` names the first two and how many there are besides."""
    if len(names) == 1:
        return names[0]
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {plural(len(names) - most + 1, 'other layer')}"
    return f"{', '.join(names[:-1])} and {names[-1]}"
