"""How far apart things lie that are touched together."""

from __future__ import annotations

import pytest

from convmill.lower.lines import CACHE_LINE, apart, in_lines

SETS = 64  # of a first cache: lines whose numbers are equal up to a multiple of it share a set


@pytest.mark.parametrize("size", [1, 63, 64, 65, 4096, 4096 * 9, 6144, 1 << 20])
def test_the_same_place_of_many_things_falls_into_as_many_sets(size):
    step = apart(size)
    assert step % CACHE_LINE == 0
    assert size <= in_lines(size) <= step <= in_lines(size) + CACHE_LINE
    sets = {number * step // CACHE_LINE % SETS for number in range(36)}
    assert len(sets) == 36
