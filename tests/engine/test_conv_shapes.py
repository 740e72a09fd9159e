"""Convolutions of real nets' shapes, exact to the bit; ``conv_shapes.py`` says how."""

from __future__ import annotations

import pytest

from tests.engine.conv_shapes import differences, path, read, sample

FILE = path()
SHAPES = sample(read(FILE), 40) if FILE else []


@pytest.mark.skipif(FILE is None, reason="CONVMILL_DATA names no folder with conv-shapes.csv")
def test_there_are_shapes():
    assert len(SHAPES) == 40


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_exact(shape):
    # first layers read few channels: there, the kernel for dW of small windows counts
    assert not differences(shape, (1, 2), identity=shape.channels_in > 4)
