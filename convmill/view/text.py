"""Names and figures as they are written in pictures."""

from __future__ import annotations


def shown(name: str, most: int = 16) -> str:
    """A class's name as a picture can show it: at most ``most`` letters, taken as they are."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage; one that is not quite 0 or 1 is not rounded to it."""
    least = 10.0**-digits
    value, sign = 100 * share, ""
    if 0 < value < least / 2:
        value, sign = least, "<"
    elif 100 - least / 2 <= value < 100:
        value, sign = 100 - least, ">"
    return f"{sign}{value:.{digits}f}\N{NARROW NO-BREAK SPACE}%"
