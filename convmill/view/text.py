"""Names and figures as they are written in pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convmill.inspection import numbers
from convmill.inspection.numbers import MINUS
from convmill.plan.pixels import PixelRange
from convmill.view.style import MARGIN, SMALL_SIZE, width_in_points, wrapped

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
SPACE = "\N{NARROW NO-BREAK SPACE}"  # before a % sign, where no line is broken
FEWEST_LETTERS = 4
LEGEND_ROW, LEGEND_LINE = 0.2, 0.15  # inches of the first line of a name, and of each further one
LARGEST_PLAIN = 1e6  # from here on with an exponent


def shown(names: Sequence[str], most: int = 16) -> tuple[str, ...]:
    """The names of all classes as a picture can show them: at most ``most`` letters of each.

    Long names lose their end; long ones that would look alike then lose their middle instead, and
    where they still would they end with the class's index.
    """
    plain = list(map(_plain, names))
    found = [_cut(name, most) for name in plain]
    tails = [name[1 - most // 2 :].lstrip() for name in plain]
    for ends in (tails, list(map(str, range(len(plain))))):
        alike = {text for text, times in Counter(found).items() if times > 1}
        found = [
            _cut(name, most, end) if text in alike else text
            for name, text, end in zip(plain, found, ends, strict=True)
        ]
    return tuple(found)


def whole(names: Sequence[str], width: float, size: float = SMALL_SIZE) -> tuple[str, ...]:
    """The names with all their letters, in lines that fit ``width`` inches."""
    margins = 2 * MARGIN
    return tuple(wrapped(_plain(name), width + margins, size) for name in names)


def legend_height(names: Sequence[str], columns: int) -> float:
    """Inches of a legend with such lines of names: those of its highest column, which Matplotlib
    fills one after another."""
    each = [LEGEND_ROW + LEGEND_LINE * name.count("\n") for name in names]
    rows = -(-len(each) // columns)
    return max(sum(each[first : first + rows]) for first in range(0, len(each), rows))


def _plain(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _cut(name: str, most: int, end: str = "") -> str:
    """The first letters of a name that is too long, and ``end`` instead of the others."""
    if len(name) <= most:
        return name
    return name[: most - 1 - len(end)].rstrip() + ELLIPSIS + end


def fitted(
    names: Sequence[str], points: float, most: int = 16, size: float = SMALL_SIZE
) -> tuple[str, ...]:
    """``shown`` of at most ``most`` letters; of fewer for each name that would be wider than
    ``points``, in letters of ``size``."""
    found = shown(names, most)
    while most > FEWEST_LETTERS:
        wide = [width_in_points(text, size) > points for text in found]
        if not any(wide):
            break
        most -= 1
        shorter = shown(names, most)
        found = tuple(
            new if too_wide else old
            for old, new, too_wide in zip(found, shorter, wide, strict=True)
        )
    return found


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage with so many decimals; see ``numbers.percent``."""
    return numbers.percent(share, digits).replace(" ", SPACE)


def figure(value: float, digits: int = 3, sign: str = "") -> str:
    """A number with at least so many digits, zeros at its end too: 2.00, 0.0374, 1234.

    ``sign``: "+" writes that of numbers above 0 as well.
    """
    whole = len(str(int(abs(value)))) if abs(value) < LARGEST_PLAIN else 0
    text = f"{value:{sign}#.{max(digits, whole)}g}"
    return text.removesuffix(".").replace("-", MINUS)


def range_said(pixels: PixelRange) -> str:
    """A sentence for captions: which pixels a model was shown, and how that is known."""
    low, high = (_plain_numbers(end) for end in (pixels.low, pixels.high))
    if pixels.origin == "assumed":
        return f"Pixels are taken to lie from {low} to {high}."
    why = ", which the model scales itself" if pixels.origin == "told" else ""
    return f"Pixels from {low} to {high}{why}."


def _plain_numbers(end: NDArray[np.float32]) -> str:
    """A number, or in brackets one for each channel."""
    texts = [f"{value:.4g}".replace("-", MINUS) for value in end.ravel()]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
