"""Batch normalization: y = activation((x - mean) scale + beta), channel by channel, with scale
gamma / deviation.

    training   moments: images | combine: channels | apply: images, on to the next layers ...
               ... back again: sums: images | totals: channels | input gradient: images
    frozen, and in inference     fold: channels, once a call | apply: images

Each image leaves the moments of its own places; over a batch they are combined in the order of the
images (Chan, Golub and LeVeque 1979), so that threads change no bit. Means are those of what values
are away from a first one, and taken away before anything is scaled: so values that are large and
alike lose nothing. Vectors run along channels; what belongs to a channel lies in rows of
``stage.moments.row`` elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from convmill.kernels import folding, ir
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.folding import INVERSE, MEAN, SCALE, SHIFT
from convmill.kernels.functions import activate, asks_for_side, gate
from convmill.kernels.lang import F32, Index, cover
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import (
    FLOAT_BYTES,
    Images,
    Launch,
    Shares,
    Slot,
    gradient,
    of_matrix,
    value,
)
from convmill.lower.stages import BatchNormalizationStage
from convmill.lower.tensors import Tensor

S = BatchNormalizationStage
UNROLL = 4  # sums that run beside one another: an addition waits for the one before it


def _is_fixed(site: Site[S]) -> bool:
    """Whether the moving statistics are taken as they are."""
    return site.stage.frozen or not site.training


def _means(stage: S) -> Slot:
    """Means over the batch of the gradient, and of its product with the normalized input."""
    return Slot(f"statistics/{stage.moments.place + 4 * stage.moments.row}")


def _of_image(stage: S, kind: str) -> Slot:
    """Two rows that an image leaves: its "moments", or the "sums" of its gradients."""
    return Slot(f"{kind}/{stage.output.buffer}", 2 * FLOAT_BYTES * stage.moments.row, "image")


# Launches ----------------------------------------------------------------------------------------


def prepare(site: Site[S]) -> list[Launch]:
    """Scale and shift out of the moving statistics, where these are taken as they are."""
    return [folding.fold(site, site.stage.moments)] if _is_fixed(site) else []


def forward(site: Site[S]) -> list[Launch]:
    """y = activation((x - mean) scale + shift)."""
    stage, launches = site.stage, list[Launch]()
    if not _is_fixed(site):
        moments, over = _of_image(stage, "moments"), Shares(stage.input.channels, site.lanes)
        moving = (
            of_matrix("parameter", stage.moments.mean),
            of_matrix("parameter", stage.moments.variance),
        )
        read, written = (
            (moments, *folding.parameters(stage.moments)),
            (folding.statistics(stage.moments), *moving),
        )
        launches = [
            Launch("normalize.moments", site.of, Images(), (value(stage.input),), (moments,)),
            Launch("normalize.combine", site.of, over, read, written),
        ]
    taken = (value(stage.input), folding.statistics(stage.moments))
    result = (value(stage.output),)
    apply = Launch("normalize.apply", site.of, Images(), taken, result, repeatable=True)
    return [*launches, apply]


def backward(site: Site[S]) -> list[Launch]:
    """Gradients of gamma and beta, and that of x, which goes back through the moments too."""
    stage, launches = site.stage, list[Launch]()
    # What the output tells follows from what the activation read: it comes from behind the caches.
    again = asks_for_side(stage.activation)
    looked_at = value(stage.input) if again else value(stage.output)
    read: tuple[Slot, ...] = (looked_at, gradient(stage.output), folding.statistics(stage.moments))
    if not _is_fixed(site):
        sums, over = _of_image(stage, "sums"), Shares(stage.input.channels, site.lanes)
        trained = (one for one in (stage.moments.gamma, stage.moments.beta) if one is not None)
        written = (_means(stage), *(of_matrix("gradient_of", one) for one in trained))
        read = (value(stage.input), *read)
        launches = [
            Launch("normalize.sums", site.of, Images(), read, (sums,)),
            Launch("normalize.totals", site.of, over, (sums,), written),
        ]
        read = (*read, _means(stage))
    if site.gradients.input:
        result = (gradient(stage.input),)
        launches.append(Launch("normalize.input_gradient", site.of, Images(), read, result))
    return launches


def words(stage: S) -> str:
    """What is computed."""
    name = stage.activation.name
    return "batch normalization" if name == "linear" else f"batch normalization + {name}"


# Going over places and channels ------------------------------------------------------------------


def _each_place(k: Kernel, tensors: tuple[Tensor, ...], body: Callable[..., None]) -> None:
    """``body(accumulator, *offsets)`` for every pixel, with its offset in each tensor."""
    height, width = tensors[0].height, tensors[0].width
    with k.loop(0, height) as row:
        for left, right, step in cover(width, UNROLL):
            with k.loop(left, right, step) as first:
                for number in range(step):
                    column = k.add(first, number)
                    body(number, *(pixel_at(k, one, row, column) for one in tensors))


def _added(k: Kernel, parts: list[ir.Value]) -> ir.Value:
    """The sum of accumulators."""
    total, *others = (k.get(part) for part in parts)
    for other in others:
        total = k.builder.fadd(total, other)
    return total


def _zeros(k: Kernel) -> list[ir.Value]:
    return [k.variable(k.constant(0.0)) for _ in range(UNROLL)]


def _number(k: Kernel, count: Index) -> ir.Value:
    """A count as a number in every lane."""
    return k.broadcast(k.builder.sitofp(k.index(count), F32))


# Kernels: forward --------------------------------------------------------------------------------


def write_moments(k: Kernel) -> None:
    """Mean, and sum of squared deviations, of an image's places; the sums of a vector of channels
    stay in registers."""
    stage, b = k.stage(S), k.builder
    x, moments = k.pointer(value(stage.input)), k.pointer(_of_image(stage, "moments"))
    share = k.constant(1 / stage.input.places)

    def one(channel: Index, count: int) -> None:
        sums, squares = _zeros(k), _zeros(k)
        first = k.load(x, k.add(pixel_at(k, stage.input, 0, 0), channel), count)

        def add(number: int, at: Index) -> None:
            away = b.fsub(k.load(x, k.add(at, channel), count), first)
            k.set(sums[number], b.fadd(k.get(sums[number]), away))

        _each_place(k, (stage.input,), add)
        mean = k.fma(_added(k, sums), share, first)

        def deviate(number: int, at: Index) -> None:
            away = b.fsub(k.load(x, k.add(at, channel), count), mean)
            k.set(squares[number], k.fma(away, away, k.get(squares[number])))

        _each_place(k, (stage.input,), deviate)
        k.store(mean, moments, channel, count)
        k.store(_added(k, squares), moments, k.add(stage.moments.row, channel), count)

    k.vectors(stage.input.channels, one)


def write_combine(k: Kernel) -> None:
    """Moments of the batch out of those of its images, in their order; scale and the moving
    statistics follow."""
    stage, b = k.stage(S), k.builder
    images, moments = k.told("images"), _of_image(stage, "moments")
    for channel, count in k.share(stage.input.channels):
        total, spread = k.variable(k.constant(0.0)), k.variable(k.constant(0.0))
        first = k.load(k.record(moments, 0), channel, count)
        with k.loop(0, images) as image:
            away = b.fsub(k.load(k.record(moments, image), channel, count), first)
            k.set(total, b.fadd(k.get(total), away))
        mean = b.fadd(first, b.fdiv(k.get(total), _number(k, images)))
        places = k.constant(float(stage.input.places))
        with k.loop(0, images) as image:
            record = k.record(moments, image)
            away = b.fsub(k.load(record, channel, count), mean)
            squares = k.load(record, k.add(stage.moments.row, channel), count)
            term = k.fma(b.fmul(away, away), places, squares)
            k.set(spread, b.fadd(k.get(spread), term))
        variance = b.fdiv(k.get(spread), b.fmul(_number(k, images), places))
        folding.keep(k, stage.moments, mean, variance, channel, count)
        for index, fresh in ((stage.moments.mean, mean), (stage.moments.variance, variance)):
            moving = k.pointer(of_matrix("parameter", index))
            kept = b.fmul(k.load(moving, channel, count), k.constant(stage.momentum))
            taken = b.fmul(fresh, k.constant(1 - stage.momentum))
            k.store(b.fadd(kept, taken), moving, channel, count)


def write_apply(k: Kernel) -> None:
    """y = activation((x - mean) scale + shift); all three stay in registers for a vector of
    channels."""
    stage = k.stage(S)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))

    def one(channel: Index, count: int) -> None:
        scaling = _scaling(k, stage, channel, count)

        def put(_: int, a: Index, b: Index) -> None:
            result = _scaled(k, k.load(x, k.add(a, channel), count), scaling)
            k.store(activate(k, stage.activation, result), y, k.add(b, channel), count)

        _each_place(k, (stage.input, stage.output), put)

    k.vectors(stage.input.channels, one)


# Kernels: backward -------------------------------------------------------------------------------


def write_sums(k: Kernel) -> None:
    """Sums over an image's places of the gradient before the activation, and of its product with
    the normalized input."""
    stage, b = k.stage(S), k.builder
    sums = k.pointer(_of_image(stage, "sums"))

    def one(channel: Index, count: int) -> None:
        inverse = folding.kept(k, stage.moments, INVERSE, channel, count)
        scaling = _scaling(k, stage, channel, count)
        slopes, products = _zeros(k), _zeros(k)

        def add(number: int, at: Index, out: Index) -> None:
            x = k.load(k.pointer(value(stage.input)), k.add(at, channel), count)
            slope = _gated(k, stage, scaling, x, k.add(out, channel), count)
            normal = b.fmul(b.fsub(x, scaling.mean), inverse)
            k.set(slopes[number], b.fadd(k.get(slopes[number]), slope))
            k.set(products[number], k.fma(slope, normal, k.get(products[number])))

        _each_place(k, (stage.input, stage.output), add)
        k.store(_added(k, slopes), sums, channel, count)
        k.store(_added(k, products), sums, k.add(stage.moments.row, channel), count)

    k.vectors(stage.input.channels, one)


class _Scaling(NamedTuple):
    """What is taken away from a vector of channels, what that is multiplied by, and what is
    added."""

    mean: ir.Value
    scale: ir.Value
    shift: ir.Value


def _scaling(k: Kernel, stage: S, channel: Index, count: int) -> _Scaling:
    rows = (MEAN, SCALE, SHIFT)
    return _Scaling(*(folding.kept(k, stage.moments, row, channel, count) for row in rows))


def _scaled(k: Kernel, x: ir.Value, by: _Scaling) -> ir.Value:
    """(x - mean) scale + shift."""
    return k.fma(k.builder.fsub(x, by.mean), by.scale, by.shift)


def _gated(
    k: Kernel,
    stage: S,
    scaling: _Scaling,
    x: ir.Value | None,
    at: Index,
    count: int,
) -> ir.Value:
    """The gradient before the activation, at a place of the output where the input is ``x``."""
    behind = k.load(k.pointer(gradient(stage.output)), at, count)
    if stage.activation.name == "linear":
        return behind
    if asks_for_side(stage.activation):
        assert x is not None
        return gate(k, stage.activation, _scaled(k, x, scaling), behind)
    return gate(k, stage.activation, k.load(k.pointer(value(stage.output)), at, count), behind)


def write_totals(k: Kernel) -> None:
    """Sums over the images in their order: gradients of beta and gamma, and the means by which the
    gradient goes back through the moments."""
    stage, b = k.stage(S), k.builder
    images, sums = k.told("images"), _of_image(stage, "sums")
    means = k.pointer(_means(stage))

    for channel, count in k.share(stage.input.channels):
        every = b.fmul(_number(k, images), k.constant(float(stage.input.places)))
        for row, parameter in enumerate((stage.moments.beta, stage.moments.gamma)):
            total = k.variable(k.constant(0.0))
            with k.loop(0, images) as image:
                here = k.load(k.record(sums, image), k.add(row * stage.moments.row, channel), count)
                k.set(total, b.fadd(k.get(total), here))
            k.store(
                b.fdiv(k.get(total), every), means, k.add(row * stage.moments.row, channel), count
            )
            if parameter is not None:
                result = k.pointer(of_matrix("gradient_of", parameter))
                before = k.unless_fresh(k.load(result, channel, count))
                k.store(b.fadd(before, k.get(total)), result, channel, count)


def write_input_gradient(k: Kernel) -> None:
    """gradient of x = scale (gradient - its mean - normalized x times the mean of their product);
    of a frozen layer, scale times the gradient."""
    stage, b = k.stage(S), k.builder
    result, coupled = k.pointer(gradient(stage.input)), _means(stage) in k.launch.reads

    def one(channel: Index, count: int) -> None:
        scaling = _scaling(k, stage, channel, count)
        if coupled:
            inverse = folding.kept(k, stage.moments, INVERSE, channel, count)
            flat, along = (
                k.load(k.pointer(_means(stage)), k.add(row * stage.moments.row, channel), count)
                for row in (0, 1)
            )

        def put(_: int, at: Index, out: Index) -> None:
            x = None
            if value(stage.input) in k.launch.reads:
                x = k.load(k.pointer(value(stage.input)), k.add(at, channel), count)
            slope = _gated(k, stage, scaling, x, k.add(out, channel), count)
            if coupled:
                assert x is not None
                normal = b.fmul(b.fsub(x, scaling.mean), inverse)
                slope = b.fsub(b.fsub(slope, flat), b.fmul(normal, along))
            k.store(b.fmul(scaling.scale, slope), result, k.add(at, channel), count)

        _each_place(k, (stage.input, stage.output), put)

    k.vectors(stage.input.channels, one)


OPERATION = Operation(
    prepare=prepare,
    forward=forward,
    backward=backward,
    kernels={
        **folding.KERNELS,
        "normalize.moments": write_moments,
        "normalize.combine": write_combine,
        "normalize.apply": write_apply,
        "normalize.sums": write_sums,
        "normalize.totals": write_totals,
        "normalize.input_gradient": write_input_gradient,
    },
    words=words,
)
