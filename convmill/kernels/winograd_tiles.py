"""Winograd's minimal filtering tile by tile: what is convolved with what is a ``Plane``.

Tiles are transformed, multiplied for each of their points, and transformed back; see
``winograd.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.ahead import claimed, nothing, prefetch
from convmill.kernels.build import Kernel
from convmill.kernels.copies import in_copy, is_late
from convmill.kernels.lang import Index, blocks, cover
from convmill.kernels.transforms import (
    Strip,
    Vectors,
    gather,
    spread_strip,
    square,
    strip_room,
)
from convmill.lower.choices import Winograd
from convmill.lower.launches import Slot
from convmill.lower.lines import behind, round_up, spaced
from convmill.lower.network import Copy


@dataclass(frozen=True)
class Plane:
    """What is convolved with what. The window of an image's first output begins at ``x(image)``,
    its rows ``row`` floats apart, its columns ``channels``; ``weights`` are those of the ``copy``.
    Outputs are in windows of ``pool``, ``size`` of them. ``result`` is the slot that they go to
    where its lines should be claimed before, which is done image by image."""

    tile: Winograd
    x: Callable[[Index], ir.Value]
    row: int
    channels: int
    weights: ir.Value
    copy: Copy
    filters: int
    size: tuple[int, int]
    pool: tuple[int, int]
    room: ir.Value
    lanes: int
    result: Slot | None = None

    @property
    def windows(self) -> tuple[int, int]:
        """Windows in a tile."""
        outputs = self.tile.filtering.outputs
        return outputs // self.pool[0], outputs // self.pool[1]

    @property
    def columns(self) -> int:
        """Columns that a row of tiles reads."""
        return self.size[1] * self.pool[1] + self.tile.filtering.kernel - 1

    @property
    def input_step(self) -> int:
        """From the inputs of a point to those of the next."""
        return spaced(self.tile.most * self.channels)

    @property
    def product_step(self) -> int:
        """The same of products."""
        return spaced(self.tile.most * self.product_row)

    @property
    def product_row(self) -> int:
        """From the products of a tile to those of the next."""
        return round_up(self.filters, self.lanes)

    @property
    def products(self) -> int:
        """Where in the room products begin, behind the inputs."""
        return behind(self.tile.filtering.points * self.input_step)

    @property
    def strip(self) -> int:
        """Where in the room a strip has its own, behind the products."""
        return self.products + self.tile.filtering.points * self.product_step


# Takes the windows of an image's tile, by rows, each with its outputs by rows, for a vector of
# filters: (image, row and column of the first window, windows, filter, lanes).
Put = Callable[[Index, tuple[Index, Index], list[list[Vectors]], Index, int], None]


def scratch(tile: Winograd, channels: int, filters: int, columns: int, lanes: int) -> int:
    """Float32 elements that one thread needs for transformed tiles: inputs, then products, then a
    strip of so many ``columns`` of outputs."""
    filtering, row = tile.filtering, round_up(filters, lanes)
    strip = strip_room(filtering.side, columns + filtering.kernel - 1, lanes)
    inputs, products = (filtering.points * spaced(tile.most * size) for size in (channels, row))
    return behind(inputs) + products + strip


def convolve(k: Kernel, plane: Plane, put: Put) -> None:
    """Tiles go through the scratch, a few rows of an image or those of a few images at a time:
    their inputs transformed, points x tiles x channels, then the products, points x tiles x
    filters, of which a block of tiles x filters stays in registers over the channels. Where outputs
    are left, the last tile overlaps the one before it."""
    if plane.tile.images == 1:
        with k.loop(0, k.told("images")) as image:
            _convolve_image(k, plane, put, image)
    else:
        _convolve_images(k, plane, put)


def _convolve_image(k: Kernel, plane: Plane, put: Put, image: Index) -> None:
    """A few rows of tiles at a time."""
    tile = plane.tile
    rows, columns = tile.grid
    x = plane.x(image)
    ask = claimed(k, plane.result, image, _blocks(plane))
    for start, stop, together in cover(rows, tile.rows):
        with k.loop(start, stop, together) as top:
            tiles = together * columns
            with k.loop(0, together) as line:
                _transform_input(k, plane, x, k.add(top, line), k.mul(line, columns))
            with k.loop(0, tile.filtering.points) as point:
                _multiply(k, plane, point, list(cover(tiles, tile.tiles)), ask)
            with k.loop(0, together) as line, k.loop(0, columns) as column:
                number = k.add(k.mul(line, columns), column)
                _transform_output(k, plane, image, (k.add(top, line), column), number, put)


def _blocks(plane: Plane) -> int:
    """Blocks of products of an image."""
    tile = plane.tile
    rows, columns = tile.grid
    of_tiles = sum(
        (stop - start) // together * blocks(together * columns, tile.tiles)
        for start, stop, together in cover(rows, tile.rows)
    )
    vectors = plane.product_row // plane.lanes
    return tile.filtering.points * blocks(vectors, tile.vectors) * of_tiles


def _convolve_images(k: Kernel, plane: Plane, put: Put) -> None:
    """All tiles of a few images at a time."""
    tile, images = plane.tile, k.told("images")
    rows, columns = tile.grid
    with k.loop(0, images, tile.images) as start:
        stop = k.minimum(images, k.add(start, tile.images))
        with k.loop(start, stop) as image:
            x = plane.x(image)
            here = k.mul(k.sub(image, start), rows * columns)
            with k.loop(0, rows) as row:
                _transform_input(k, plane, x, row, k.add(here, k.mul(row, columns)))
        tiles = k.mul(k.sub(stop, start), rows * columns)
        with k.loop(0, tile.filtering.points) as point:
            _multiply(k, plane, point, [(0, tiles, tile.tiles)], nothing)
        with k.loop(start, stop) as image:
            here = k.mul(k.sub(image, start), rows * columns)
            with k.loop(0, rows) as row, k.loop(0, columns) as column:
                number = k.add(here, k.mul(row, columns), column)
                _transform_output(k, plane, image, (row, column), number, put)


def _first(k: Kernel, plane: Plane, axis: int, index: Index) -> Index:
    """Row or column of the first window of an index of tiles."""
    windows = plane.windows[axis]
    return k.minimum(k.mul(index, windows), plane.size[axis] - windows)


def _transform_input(k: Kernel, plane: Plane, x: ir.Value, row: Index, number: Index) -> None:
    """B' d B of a row of tiles, of which ``number`` is the first, for all channels."""
    channels, tile = plane.channels, plane.tile
    top = k.mul(_first(k, plane, 0, row), plane.pool[0] * plane.row)
    strip = Strip(k.at(x, top), plane.row, channels, plane.columns, k.at(plane.room, plane.strip))

    def first(column: Index) -> Index:
        return k.mul(_first(k, plane, 1, column), plane.pool[1])

    target = k.at(plane.room, k.mul(number, channels))
    tiles = (tile.grid[1], first)
    spread_strip(k, tile.filtering.side, strip, tiles, target, plane.input_step)


def _multiply(
    k: Kernel,
    plane: Plane,
    point: Index,
    pieces: list[tuple[Index, Index, int]],
    ask: Callable[[], None],
) -> None:
    """products[point] = inputs[point] (tiles x channels) times weights[point], for ``pieces`` of
    the tiles, from a first to a last one, so many at a time; ``ask`` is called for each block."""
    channels, tile, row = plane.channels, plane.tile, plane.product_row
    inputs = k.at(plane.room, k.mul(point, plane.input_step))
    factors = k.at(plane.weights, k.mul(point, plane.copy.point))
    results = k.at(plane.room, k.add(plane.products, k.mul(point, plane.product_step)))
    for filter_, counts in k.runs(row, tile.vectors):
        for start, stop, count in pieces:
            with k.loop(start, stop, count) as first:
                ask()
                sums = [[k.variable(k.constant(0.0)) for _ in counts] for _ in range(count)]
                source = k.at(inputs, k.mul(first, channels))
                with k.loop(0, channels) as channel:
                    at, vector = in_copy(k, plane.copy, filter_, channel), plane.copy.vector
                    taps = [k.load(factors, k.add(at, v * vector)) for v in range(len(counts))]
                    for v in range(len(counts) if is_late(plane.copy) else 0):  # of those next
                        prefetch(k, factors, k.add(at, (len(counts) + v) * vector))
                    for t, totals in enumerate(sums):
                        every = k.broadcast(k.load_scalar(source, k.add(channel, t * channels)))
                        for total, tap in zip(totals, taps, strict=True):
                            k.set(total, k.fma(every, tap, k.get(total)))
                for t, totals in enumerate(sums):
                    at = k.add(k.mul(k.add(first, t), row), filter_)
                    for v, total in enumerate(totals):
                        k.store(k.get(total), results, k.add(at, v * k.lanes))


def _transform_output(
    k: Kernel, plane: Plane, image: Index, place: tuple[Index, Index], number: Index, put: Put
) -> None:
    """A' m A of one tile, for all filters, by windows."""
    filtering, (high, wide), row = plane.tile.filtering, plane.pool, plane.product_row
    side, outputs, step = filtering.side, filtering.outputs, plane.product_step
    first = (_first(k, plane, 0, place[0]), _first(k, plane, 1, place[1]))

    def finish(filter_: Index, count: int) -> None:
        at = k.add(k.mul(number, row), filter_, plane.products)
        m = [
            [k.load(plane.room, k.add(at, (side * i + j) * step)) for j in range(side)]
            for i in range(side)
        ]
        y = square(lambda line: gather(k, side, outputs, line), m)
        windows = [
            [
                [y[i + down][j + along] for down in range(high) for along in range(wide)]
                for j in range(0, outputs, wide)
            ]
            for i in range(0, outputs, high)
        ]
        put(image, first, windows, filter_, count)

    k.vectors(plane.filters, finish)
