"""Values moved to other places: views of an image, and the nests of loops that copy them.

A view is a way to go through the values of an image: for each of its axes how many there are, and
how far apart they lie in the image, which is without gaps, its last axis innermost. Turning,
cutting, repeating only makes other views; a copy of one is a nest of loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from convmill.plan.graph.moves import Nest
from convmill.plan.graph.shapes import Border, Pair, Shape


@dataclass(frozen=True)
class View:
    """``sizes`` of its axes, ``steps`` in values of the image from one to the next along each, and
    where it ``start``s."""

    sizes: Shape
    steps: tuple[int, ...]
    start: int = 0

    def permuted(self, axes: Sequence[int]) -> View:
        """Axes in another order."""
        sizes, steps = zip(*((self.sizes[axis], self.steps[axis]) for axis in axes), strict=True)
        return replace(self, sizes=sizes, steps=steps)

    def sliced(self, axis: int, start: int, stop: int, step: int = 1) -> View:
        """Places ``range(start, stop, step)`` of one axis."""
        count, by = len(range(start, stop, step)), self.steps[axis]
        begin = self.start + start * by
        return replace(self._with(axis, (count,), (by * step,)), start=begin)

    def picked(self, axis: int, place: int) -> View:
        """One place of an axis, which is no more."""
        view = self.sliced(axis, place, place + 1)
        return view._with(axis, (), ())

    def reversed(self, axis: int) -> View:
        """One axis backwards."""
        return self.sliced(axis, self.sizes[axis] - 1, -1, -1)

    def repeated(self, axis: int, times: int) -> View:
        """Each place of an axis so many times, as a further axis behind it."""
        return self._with(axis, (self.sizes[axis], times), (self.steps[axis], 0))

    def inserted(self, axis: int, size: int = 1) -> View:
        """A further axis, along which all places are the same."""
        sizes = (*self.sizes[:axis], size, *self.sizes[axis:])
        return replace(self, sizes=sizes, steps=(*self.steps[:axis], 0, *self.steps[axis:]))

    def copy(self) -> Nest:
        """The nest that writes the view's values behind one another."""
        return Nest(self.sizes, self.steps, row_major(self.sizes), self.start)

    def _with(self, axis: int, sizes: Shape, steps: tuple[int, ...]) -> View:
        return replace(
            self,
            sizes=(*self.sizes[:axis], *sizes, *self.sizes[axis + 1 :]),
            steps=(*self.steps[:axis], *steps, *self.steps[axis + 1 :]),
        )


def row_major(sizes: Shape) -> tuple[int, ...]:
    """Values from one place to the next along each axis of an image without gaps."""
    return tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))


def whole(shape: Shape) -> View:
    """All values of an image in their order."""
    return View(shape, row_major(shape))


def padded(shape: Shape, border: Border) -> Nest:
    """An image of rows, columns and channels into a larger one, at the corner that ``border``
    leaves."""
    top, bottom, left, right = border
    height, width, channels = shape
    goal = row_major((top + height + bottom, left + width + right, channels))
    return Nest(shape, row_major(shape), goal, target=top * goal[0] + left * goal[1])


def cropped(shape: Shape, border: Border) -> Nest:
    """What is left of an image of rows, columns and channels without its ``border``."""
    top, bottom, left, right = border
    rows = whole(shape).sliced(0, top, shape[0] - bottom)
    return rows.sliced(1, left, shape[1] - right).copy()


def enlarged(shape: Shape, factors: Pair) -> Nest:
    """Each place of an image of rows, columns and channels so many times along both axes."""
    return whole(shape).repeated(1, factors[1]).repeated(0, factors[0]).copy()
