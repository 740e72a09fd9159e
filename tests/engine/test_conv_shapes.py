"""Convolutions of real nets' shapes, exact to the bit; ``conv_shapes.py`` says how.

The forty shapes are the first and the last of a list of hundreds by every measure, and others
evenly along the work that they are.
"""

from __future__ import annotations

import pytest

from tests.engine.conv_shapes import FORTY, differences, read

SHAPES = read(FORTY)


def test_there_are_forty_shapes():
    assert len(set(SHAPES)) == 40


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_exact(shape):
    # first layers read few channels: there, the kernel for dW of small windows counts
    assert not differences(shape, (1, 2), identity=shape.channels_in > 4)
