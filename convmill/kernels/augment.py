"""Images changed at random in training: turned over, rotated, zoomed, moved, sheared, lighter, of
more contrast. Outside training a copy. Nothing goes back: they stand before all that is trained."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.dropout import copied
from convmill.kernels.elementwise import rows
from convmill.kernels.groups import Group, Groups, Place, offset
from convmill.kernels.lang import BIT, F32, I64, Index
from convmill.kernels.operation import Operation, Site
from convmill.kernels.random import Draws, cosine_of_turns
from convmill.lower.launches import SEEDS, Images, Launch, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.random import Flip, Tone, Warp

Scalars = tuple[ir.Value, ir.Value, ir.Value]


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = x changed at random; outside training y = x."""
    x, y = value(site.stage.input), value(site.stage.output)
    if not site.training:
        return [Launch("augment.copy", site.of, Images(), (x,), (y,))]
    return [Launch("augment.forward", site.of, Images(), (x, SEEDS), (y,))]


def words(stage: PlainStage) -> str:
    """What is computed."""
    match stage.operation:
        case Warp(kind) | Tone(kind):
            return f"random {kind}"
    return "random flip"


def write_forward(k: Kernel) -> None:
    """y, by numbers drawn for the image."""
    stage = k.stage(PlainStage)
    match stage.operation:
        case Flip() as operation:
            _flip(k, stage, operation)
        case Warp() as operation:
            _warp(k, stage, operation)
        case Tone() as operation:
            _tone(k, stage, operation)


def _flip(k: Kernel, stage: PlainStage, operation: Flip) -> None:
    """Rows and columns from the other end, in half of the images."""
    b, image = k.builder, stage.input
    share = Draws(k, operation.seed).between(0, 0.0, 1.0)
    turned = b.fcmp_ordered("<=", share, ir.Constant(F32, 0.5))

    def end(place: Index, size: int, flips: bool) -> Index:
        other = k.index(k.sub(size - 1, place))
        return b.select(turned, other, k.index(place)) if flips else place

    with k.loop(0, image.height) as row, k.loop(0, image.width) as column:
        source = (
            end(row, image.height, operation.rows),
            end(column, image.width, operation.columns),
        )
        _copy_pixel(k, stage, source, (row, column))


def _copy_pixel(
    k: Kernel, stage: PlainStage, source: tuple[Index, Index], target: tuple[Index, Index]
) -> None:
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))
    here, there = offset(k, stage.input, (*source, 0)), offset(k, stage.output, (*target, 0))
    k.vectors(
        stage.input.channels,
        lambda at, count: k.store(k.load(x, k.add(here, at), count), y, k.add(there, at), count),
    )


# Rotation, zoom, translation ---------------------------------------------------------------------


def _warp(k: Kernel, stage: PlainStage, operation: Warp) -> None:
    """Each pixel from where the image's own map has it come from."""
    b, image = k.builder, stage.input
    draws = Draws(k, operation.seed)
    numbers = [draws.between(n, *ends) for n, ends in enumerate(operation.ranges)]
    to_row, to_column = _MAPS[operation.kind](k, stage, numbers)
    with k.loop(0, image.height) as row, k.loop(0, image.width) as column:
        y, x = (b.sitofp(k.index(place), F32) for place in (row, column))

        def come_from(terms: Scalars, x: ir.Value = x, y: ir.Value = y) -> ir.Value:
            by_x, by_y, rest = terms
            return b.fadd(b.fadd(b.fmul(y, by_y), b.fmul(x, by_x)), rest)

        taps = [
            _taps(k, come_from(terms), size, operation)
            for terms, size in ((to_row, image.height), (to_column, image.width))
        ]
        _gather(k, stage, operation, taps, (row, column))


def _rotation(k: Kernel, stage: PlainStage, numbers: list[ir.Value]) -> tuple[Scalars, Scalars]:
    """About the middle, by an angle in turns."""
    b = k.builder
    sine, cosine = (_cosine(k, numbers[0], before) for before in (0.25, 0.0))
    middle_y, middle_x = (
        ir.Constant(F32, (size - 1) / 2) for size in (stage.input.height, stage.input.width)
    )
    minus = b.fneg(sine)
    to_row = b.fsub(b.fsub(middle_y, b.fmul(middle_x, sine)), b.fmul(middle_y, cosine))
    to_column = b.fsub(b.fsub(middle_x, b.fmul(middle_x, cosine)), b.fmul(middle_y, minus))
    return (sine, cosine, to_row), (cosine, minus, to_column)


def _cosine(k: Kernel, turns: ir.Value, before: float) -> ir.Value:
    """cos(2 pi (turns - before))."""
    b = k.builder
    away = b.fsub(turns, ir.Constant(F32, before))
    away = b.fsub(away, k.intrinsic("floor", away))
    return b.extract_element(cosine_of_turns(k, k.broadcast(away)), ir.Constant(I64, 0))


def _zoom(k: Kernel, stage: PlainStage, numbers: list[ir.Value]) -> tuple[Scalars, Scalars]:
    """About the middle, by factors of height and width."""
    b, zero, one = k.builder, ir.Constant(F32, 0.0), ir.Constant(F32, 1.0)
    height, width = numbers[0], numbers[-1]
    middle_y, middle_x = (
        ir.Constant(F32, (size - 1) / 2) for size in (stage.input.height, stage.input.width)
    )
    to_row = b.fmul(middle_y, b.fsub(one, height))
    to_column = b.fmul(middle_x, b.fsub(one, width))
    return (zero, height, to_row), (width, zero, to_column)


def _translation(k: Kernel, stage: PlainStage, numbers: list[ir.Value]) -> tuple[Scalars, Scalars]:
    """By shares of height and width."""
    b, zero, one = k.builder, ir.Constant(F32, 0.0), ir.Constant(F32, 1.0)
    down, right = (
        b.fmul(share, ir.Constant(F32, -float(size)))
        for share, size in zip(numbers, (stage.input.height, stage.input.width), strict=True)
    )
    return (zero, one, down), (one, zero, right)


def _shear(k: Kernel, stage: PlainStage, numbers: list[ir.Value]) -> tuple[Scalars, Scalars]:
    """From the corner, so many rows for each column, and columns for each row."""
    b, zero, one = k.builder, ir.Constant(F32, 0.0), ir.Constant(F32, 1.0)
    forwards = b.fcmp_ordered("<=", numbers[0], ir.Constant(F32, 0.5))
    down, across = (b.select(forwards, number, b.fneg(number)) for number in numbers[1:])
    return (down, one, zero), (one, across, zero)


_Map = Callable[[Kernel, PlainStage, list[ir.Value]], tuple[Scalars, Scalars]]
_MAPS: dict[str, _Map] = {
    "rotation": _rotation,
    "zoom": _zoom,
    "translation": _translation,
    "shear": _shear,
}

Tap = tuple[Index, ir.Value, ir.Value]  # a place inside the image, whether it is real, its weight


def _taps(k: Kernel, at: ir.Value, size: int, operation: Warp) -> list[Tap]:
    """The places along one axis that a point lies between, or the nearest."""
    b, one = k.builder, ir.Constant(F32, 1.0)
    if operation.interpolation == "nearest":
        return [_tap(k, b.fptosi(k.intrinsic("round", at), I64), one, size, operation)]
    low = k.intrinsic("floor", at)
    upper = b.fsub(at, low)
    first = b.fptosi(low, I64)
    after = b.add(first, ir.Constant(I64, 1))
    return [
        _tap(k, first, b.fsub(one, upper), size, operation),
        _tap(k, after, upper, size, operation),
    ]


def _tap(k: Kernel, place: ir.Value, weight: ir.Value, size: int, operation: Warp) -> Tap:
    b = k.builder
    held = k.index(k.maximum(k.minimum(place, size - 1), 0))
    inside = b.icmp_signed("==", held, place)
    always = ir.Constant(BIT, 1)
    match operation.fill_mode:
        case "constant":
            return held, inside, weight
        case "wrap":
            return _modulo(k, place, size), always, weight
        case "reflect":  # a triangular wave of twice the size, by halves of pixels
            doubled = k.add(k.mul(place, 2), 1)
            wave = k.sub(_modulo(k, k.index(k.add(doubled, 2 * size)), 4 * size), 2 * size)
            size_of = k.maximum(wave, k.sub(0, wave))
            return k.divide(k.sub(size_of, 1), 2), always, weight
    return held, always, weight  # nearest


def _modulo(k: Kernel, place: ir.Value, size: int) -> Index:
    """The remainder that is not below zero."""
    b, whole = k.builder, ir.Constant(I64, size)
    return b.srem(b.add(b.srem(place, whole), whole), whole)


def _gather(
    k: Kernel, stage: PlainStage, operation: Warp, taps: list[list[Tap]], goal: tuple[Index, Index]
) -> None:
    """One pixel, of the pixels at its taps."""
    b, x, y = k.builder, k.pointer(value(stage.input)), k.pointer(value(stage.output))
    there = offset(k, stage.output, (*goal, 0))
    pairs = [(down, across) for down in taps[0] for across in taps[1]]

    def one(at: Index, count: int) -> None:
        total: ir.Value = k.constant(0.0)
        for (row, real_row, down), (column, real_column, across) in pairs:
            found = k.load(x, k.add(offset(k, stage.input, (row, column, 0)), at), count)
            real = b.and_(real_row, real_column)
            found = b.select(real, found, k.constant(operation.fill_value))
            total = k.fma(k.broadcast(b.fmul(down, across)), found, total)
        k.store(total, y, k.add(there, at), count)

    k.vectors(stage.input.channels, one)


# Contrast and brightness -------------------------------------------------------------------------


def _tone(k: Kernel, stage: PlainStage, operation: Tone) -> None:
    """Values so many times away from their channel's mean, or so much higher; held to limits."""
    b, x, y = k.builder, k.pointer(value(stage.input)), k.pointer(value(stage.output))
    number = k.broadcast(Draws(k, operation.seed).between(0, *operation.range))
    low, high = (k.constant(end) for end in operation.limits)

    def held(found: ir.Value) -> ir.Value:
        found = b.select(b.fcmp_unordered(">", found, low), found, low)
        return b.select(b.fcmp_unordered("<", found, high), found, high)

    def lighter(a: Index, c: Index, _: Index, count: int) -> None:
        k.store(held(b.fadd(k.load(x, a, count), number)), y, c, count)

    def of_channels(group: Group) -> None:
        def load(place: Place, count: int) -> ir.Value:
            return k.load(x, offset(k, stage.input, place), count)

        mean = b.fmul(group.sum(load), k.constant(1 / group.of.size))

        def away(place: Place, count: int) -> None:
            found = k.fma(b.fsub(load(place, count), mean), number, mean)
            k.store(held(found), y, offset(k, stage.output, place), count)

        group.values(away)

    if operation.kind == "brightness":
        rows(k, stage.input, stage.output, lighter)
    else:
        Groups(stage.input, (-3, -2)).each(k, of_channels)


OPERATION = Operation(
    forward=forward,
    kernels={"augment.copy": copied, "augment.forward": write_forward},
    words=words,
)
