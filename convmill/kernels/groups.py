"""Groups of values that share a sum: along some axes of an image, or some channels of each.

Where the channels belong to the axes, vectors run along them and are summed up across lanes at the
end; else every lane is a group of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.lang import I32, Emitter, Index
from convmill.lower.tensors import Tensor

Place = tuple[Index, Index, Index]  # row, column, channel


@dataclass(frozen=True)
class Groups:
    """Those of ``tensor`` along ``axes`` (of -3, -2 and -1), its channels cut into ``slices``."""

    tensor: Tensor
    axes: tuple[int, ...]
    slices: int = 1

    @property
    def across_lanes(self) -> bool:
        """Whether a group's values lie in the lanes of a vector."""
        return -1 in self.axes

    @property
    def kept(self) -> tuple[int, int, int]:
        """How many groups there are along each axis."""
        sizes = (self.tensor.height, self.tensor.width, self.tensor.channels)
        rows, columns, channels = (
            1 if axis in self.axes else size for axis, size in zip((-3, -2, -1), sizes, strict=True)
        )
        return rows, columns, self.slices if self.across_lanes else channels

    @property
    def count(self) -> int:
        """How many groups there are."""
        rows, columns, channels = self.kept
        return rows * columns * channels

    @property
    def size(self) -> int:
        """Values of one group."""
        return self.tensor.values // self.count

    def each(self, e: Emitter, body: Callable[[Group], None]) -> None:
        """``body(group)`` for each; for a vector of them where lanes are groups."""
        rows, columns, channels = self.kept
        with e.loop(0, rows) as row, e.loop(0, columns) as column:
            pixel = e.mul(e.add(e.mul(row, columns), column), channels)
            if self.across_lanes:
                width = self.tensor.channels // channels
                with e.loop(0, channels) as part:
                    place = (row, column, e.mul(part, width))
                    body(Group(e, self, place, e.add(pixel, part), e.lanes))
                return
            e.vectors(
                channels,
                lambda at, count: body(Group(e, self, (row, column, at), e.add(pixel, at), count)),
            )


@dataclass(frozen=True)
class Group:
    """One group, or a vector of ``count`` of them, at its first ``place``; ``number`` counts
    groups."""

    e: Emitter
    of: Groups
    place: Place
    number: Index
    count: int

    def values(self, visit: Callable[[Place, int], None]) -> None:
        """``visit(place, count)`` for every vector of its values."""
        e, tensor, axes = self.e, self.of.tensor, self.of.axes
        row, column, channel = self.place
        height, width = (tensor.height if -3 in axes else 1), (tensor.width if -2 in axes else 1)
        with e.loop(0, height) as i, e.loop(0, width) as j:
            here = (e.add(row, i), e.add(column, j))
            if self.of.across_lanes:
                size = tensor.channels // self.of.slices
                e.vectors(size, lambda at, count: visit((*here, e.add(channel, at)), count))
            else:
                visit((*here, channel), self.count)

    def sum(self, term: Callable[[Place, int], ir.Value]) -> ir.Value:
        """The sum of ``term`` over all values, in every lane that the group has."""
        e = self.e
        total = e.variable(e.constant(0.0))

        def add(place: Place, count: int) -> None:
            part = term(place, count)
            if self.of.across_lanes and count < e.lanes:
                part = e.builder.select(e.mask(count), part, e.constant(0.0))
            e.set(total, e.builder.fadd(e.get(total), part))

        self.values(add)
        return self._joined(e.get(total), "fadd")

    def mean(self, term: Callable[[Place, int], ir.Value]) -> ir.Value:
        """The mean of ``term``, by what it is away from the group's first value: so values that are
        alike have a mean that is exact."""
        e = self.e
        first = term(self.place, 1 if self.of.across_lanes else self.count)
        if self.of.across_lanes:
            first = e.broadcast(e.builder.extract_element(first, ir.Constant(ir.IntType(32), 0)))
        away = self.sum(lambda place, count: e.builder.fsub(term(place, count), first))
        return e.builder.fadd(first, e.builder.fmul(away, e.constant(1 / self.of.size)))

    def largest(self, term: Callable[[Place, int], ir.Value]) -> ir.Value:
        """The largest of ``term``; what is no number wins."""
        e = self.e
        lowest = e.constant(float("-inf"))
        found = e.variable(lowest)

        def look(place: Place, count: int) -> None:
            part = term(place, count)
            if self.of.across_lanes and count < e.lanes:
                part = e.builder.select(e.mask(count), part, lowest)
            e.set(found, e.largest(e.get(found), part))

        self.values(look)
        return self._joined(e.get(found), "fmaximum")

    def _joined(self, lanes: ir.Value, name: str) -> ir.Value:
        return self.e.broadcast(self.e.reduce(name, lanes)) if self.of.across_lanes else lanes

    def keep(self, found: ir.Value, pointer: ir.Value) -> None:
        """Stores what was found of the group, by its number."""
        if self.of.across_lanes:
            first = self.e.builder.extract_element(found, ir.Constant(I32, 0))
            self.e.store_scalar(first, pointer, self.number)
        else:
            self.e.store(found, pointer, self.number, self.count)

    def kept(self, pointer: ir.Value) -> ir.Value:
        """What was stored, in every lane that the group has."""
        if self.of.across_lanes:
            return self.e.broadcast(self.e.load_scalar(pointer, self.number))
        return self.e.load(pointer, self.number, self.count)


def offset(e: Emitter, tensor: Tensor, place: Place) -> Index:
    """Where a value of a tensor lies."""
    row, column, channel = place
    return e.add(tensor.origin, e.mul(row, tensor.row), e.mul(column, tensor.channels), channel)
