"""Parameters that have as many values as an image along some axes, and one along the others: where
they lie, and their gradients, which are sums over all images and places that share a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.groups import Place
from convmill.kernels.lang import Emitter, Index
from convmill.lower.launches import Shares, of_matrix
from convmill.lower.tensors import Tensor

Term = Callable[[Index, Place, int], ir.Value]  # of an image, and of a vector at a place


@dataclass(frozen=True)
class Pattern:
    """How many values a parameter has along rows, columns and channels of ``tensor``, all or
    one."""

    tensor: Tensor
    rows: int
    columns: int
    channels: int

    def offset(self, e: Emitter, place: Place) -> Index:
        """Where the parameter's value for a place lies."""
        row, column, channel = place
        line = e.mul(row, self.columns) if self.rows > 1 else 0
        pixel = e.add(line, column if self.columns > 1 else 0)
        return e.add(e.mul(pixel, self.channels), channel if self.channels > 1 else 0)

    def load(self, e: Emitter, parameter: ir.Value, place: Place, count: int) -> ir.Value:
        """The values for a vector of channels."""
        at = self.offset(e, place)
        if self.channels > 1 or self.tensor.channels == 1:
            return e.load(parameter, at, count)
        return e.broadcast(e.load_scalar(parameter, at))

    def shares(self, lanes: int) -> Shares:
        """How the gradient is divided: by channels, if it has any."""
        return Shares(self.channels, lanes) if self.channels > 1 else Shares(1)


def along(tensor: Tensor, axes: tuple[int, ...]) -> Pattern:
    """The pattern of a parameter that has all values along ``axes``."""
    sizes = zip((-3, -2, -1), (tensor.height, tensor.width, tensor.channels), strict=True)
    rows, columns, channels = (size if axis in axes else 1 for axis, size in sizes)
    return Pattern(tensor, rows, columns, channels)


def write_gradient(k: Kernel, pattern: Pattern, index: int, term: Term) -> None:
    """gradient of parameter ``index`` = the sum of ``term`` over images in their order, and over
    places; a share of it."""
    result = k.pointer(of_matrix("gradient_of", index))
    tensor = pattern.tensor

    def lane(row: Index, column: Index, channel: Index, count: int) -> None:
        at = pattern.offset(k, (row, column, channel))
        across = pattern.channels == 1
        start = k.constant(0.0) if across else k.unless_fresh(k.load(result, at, count))
        total = k.variable(start)
        height = tensor.height if pattern.rows == 1 else 1
        width = tensor.width if pattern.columns == 1 else 1
        with (
            k.loop(0, k.told("images")) as image,
            k.loop(0, height) as i,
            k.loop(0, width) as j,
        ):
            here = (k.add(row, i), k.add(column, j))
            _add_places(k, total, pattern, image, (*here, channel), count, term)
        if across:
            before = k.unless_fresh(k.load_scalar(result, at))
            whole = k.builder.fadd(before, k.reduce("fadd", k.get(total)))
            k.store_scalar(whole, result, at)
        else:
            k.store(k.get(total), result, at, count)

    with k.loop(0, pattern.rows) as row, k.loop(0, pattern.columns) as column:
        if pattern.channels == 1:
            lane(row, column, 0, k.lanes)
        else:
            first, last = k.told("first"), k.told("last")
            whole = k.mul(k.divide(k.sub(last, first), k.lanes), k.lanes)
            full = k.add(first, whole)
            with k.loop(first, full, k.lanes) as channel:
                lane(row, column, channel, k.lanes)
            with k.loop(full, last) as channel:
                lane(row, column, channel, 1)


def _add_places(
    k: Kernel,
    total: ir.Value,
    pattern: Pattern,
    image: Index,
    place: Place,
    count: int,
    term: Term,
) -> None:
    """One vector of channels, or all channels where they share a value."""
    if pattern.channels > 1:
        k.set(total, k.builder.fadd(k.get(total), term(image, place, count)))
        return
    row, column, _ = place

    def add(channel: Index, count: int) -> None:
        part = term(image, (row, column, channel), count)
        if count < k.lanes:
            part = k.builder.select(k.mask(count), part, k.constant(0.0))
        k.set(total, k.builder.fadd(k.get(total), part))

    k.vectors(pattern.tensor.channels, add)
