"""Names and figures as they are written in pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from convmill.inspection import numbers

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
SPACE = "\N{NARROW NO-BREAK SPACE}"  # before a % sign, where no line is broken


def shown(names: Sequence[str], most: int = 16) -> tuple[str, ...]:
    """The names of all classes as a picture can show them: at most ``most`` letters of each.

    Long names lose their end; long ones that would look alike then lose their middle instead, and
    where they still would they end with the class's index.
    """
    plain = ["".join(letter if letter.isprintable() else "?" for letter in name) for name in names]
    found = [_cut(name, most) for name in plain]
    tails = [name[1 - most // 2 :].lstrip() for name in plain]
    for ends in (tails, list(map(str, range(len(plain))))):
        alike = {text for text, times in Counter(found).items() if times > 1}
        found = [
            _cut(name, most, end) if text in alike else text
            for name, text, end in zip(plain, found, ends, strict=True)
        ]
    return tuple(found)


def _cut(name: str, most: int, end: str = "") -> str:
    """The first letters of a name that is too long, and ``end`` instead of the others."""
    if len(name) <= most:
        return name
    return name[: most - 1 - len(end)].rstrip() + ELLIPSIS + end


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage with so many decimals; see ``numbers.percent``."""
    return numbers.percent(share, digits).replace(" ", SPACE)
