"""What is traced for a model is kept on the model itself, until it is compiled anew.

Anywhere else it would keep the model alive, for it leads back to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_PLACE = "_convmill_traced"


class _Kept:
    """Things by name, each with what it was made of. Keras saves nothing of it."""

    def __init__(self) -> None:
        self.things: dict[str, tuple[Any, Any]] = {}


def kept(model: Any, name: str, of: Any, make: Callable[[], T]) -> T:
    """What ``make`` made of ``of``, which is compared by its address, or makes now."""
    things = vars(model).setdefault(_PLACE, _Kept()).things
    known = things.get(name)
    if known is None or known[0] is not of:
        known = things[name] = of, make()
    found: T = known[1]
    return found
