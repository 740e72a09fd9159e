"""Sub-grids name every tap that reaches a place, once, whatever the window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convmill.lower.subgrids import beyond, subgrids

SMALL = st.integers(1, 6)


@given(st.integers(1, 12), SMALL, SMALL, SMALL, st.integers(0, 5))
def test_every_tap_reaches_its_places(size, window, stride, dilation, before):
    grids = subgrids(size, window, stride, dilation, before)
    found = {
        (grid.first + n * grid.step, tap, n + offset)
        for grid in grids
        for n in range(grid.count)
        for tap, offset in grid.taps
    }
    far = range(-size - before - window * dilation, size + before + 1)
    wanted = {
        (place, tap, output)
        for output in far
        for tap in range(window)
        if 0 <= (place := output * stride + tap * dilation - before) < size
    }
    assert found == wanted
    assert sum(grid.count for grid in grids) == size
    written = 4  # however many output places there are
    ahead, behind = beyond(grids, written)
    outputs = [output for _, _, output in wanted]
    assert ahead == max([0, *(-output for output in outputs)])
    assert behind == max([0, *(output - written + 1 for output in outputs)])
