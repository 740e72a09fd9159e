"""What is computed again in the phases that read it, and what is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convmill.lower.again import computed_again
from convmill.lower.launches import Launch, Slot
from tests.lower.launches import image_slot, over_images, over_shares

X, Y, Z, OTHER = (image_slot(name) for name in ("x", "y", "z", "other"))
SUM = Slot("gradient_of/0")
WRITE = over_images([], [X])
MAKE = replace(over_images([X], [Y]), repeatable=True)
READ, READ_BESIDE = over_images([Y], [Z]), over_images([Y], [OTHER])
BARRIER = over_shares([X], [SUM])


def test_once_before_the_first_reader_of_each_later_phase():
    launches = [WRITE, MAKE, READ, BARRIER, READ, READ_BESIDE, BARRIER, READ_BESIDE]
    again = replace(MAKE, again=True)
    expected = [*launches[:4], again, *launches[4:7], again, launches[7]]
    assert computed_again(launches) == expected


KEPT: dict[str, list[Launch]] = {
    "not worth it": [WRITE, replace(MAKE, repeatable=False), BARRIER, READ],
    "one phase": [WRITE, MAKE, READ, READ_BESIDE, BARRIER],
    "shares read it": [WRITE, MAKE, BARRIER, READ, over_shares([Y], [SUM])],
    "what it reads changes": [WRITE, MAKE, READ, BARRIER, over_images([], [X]), READ],
    "it is changed itself": [WRITE, MAKE, over_images([Z], [Y]), BARRIER, READ],
}


@pytest.mark.parametrize("launches", KEPT.values(), ids=KEPT)
def test_all_else_is_kept(launches):
    assert computed_again(launches) == launches
