"""Batch normalization backward: sums of images and of a batch, and the gradient of its input."""

from __future__ import annotations

from convmill.kernels import folding, ir
from convmill.kernels.batch_normalization_forward import (
    S,
    Scaling,
    Vector,
    added,
    each_place,
    number_of,
    of_image,
    runs,
    scaled,
    scaling,
    zeros,
)
from convmill.kernels.build import Kernel
from convmill.kernels.folding import INVERSE
from convmill.kernels.functions import asks_for_side, gate
from convmill.kernels.lang import Index
from convmill.lower.launches import Slot, gradient, of_matrix, value


def means_of(stage: S) -> Slot:
    """Means over the batch of the gradient, and of its product with the normalized input."""
    return Slot(f"statistics/{stage.moments.place + 4 * stage.moments.row}")


def write_sums(k: Kernel) -> None:
    """Sums over an image's places of the gradient before the activation, and of its product with
    the normalized input; those of some vectors of channels stay in registers."""
    stage, b = k.stage(S), k.builder
    sums = k.pointer(of_image(stage, "sums"))
    for vectors in runs(k, stage):
        inverses = [_inverse(k, stage, vector) for vector in vectors]
        scalings = [scaling(k, stage, vector) for vector in vectors]
        slopes, products = zeros(k, vectors), zeros(k, vectors)
        for vector, turn, (at, out) in each_place(k, vectors, stage.input, stage.output):
            number, by = vector.number, scalings[vector.number]
            x = k.load(k.pointer(value(stage.input)), at, vector.lanes)
            slope = _gated(k, stage, by, x, out, vector.lanes)
            normal = b.fmul(b.fsub(x, by.mean), inverses[number])
            total, product = slopes[number][turn], products[number][turn]
            k.set(total, b.fadd(k.get(total), slope))
            k.set(product, k.fma(slope, normal, k.get(product)))
        for channel, lanes, number in vectors:
            for row, parts in enumerate((slopes[number], products[number])):
                place = k.add(row * stage.moments.row, channel)
                k.store(added(k, parts), sums, place, lanes)


def _inverse(k: Kernel, stage: S, vector: Vector) -> ir.Value:
    """1 / deviation of a vector of channels."""
    return folding.kept(k, stage.moments, INVERSE, vector.channel, vector.lanes)


def _gated(
    k: Kernel,
    stage: S,
    by: Scaling,
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
        return gate(k, stage.activation, scaled(k, x, by), behind)
    return gate(k, stage.activation, k.load(k.pointer(value(stage.output)), at, count), behind)


def write_totals(k: Kernel) -> None:
    """Sums over the images in their order: gradients of beta and gamma, and the means by which the
    gradient goes back through the moments."""
    stage, b = k.stage(S), k.builder
    images, sums = k.told("images"), of_image(stage, "sums")
    means = k.pointer(means_of(stage))

    for channel, count in k.share(stage.input.channels):
        every = b.fmul(number_of(k, images), k.constant(float(stage.input.places)))
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
    result, coupled = k.pointer(gradient(stage.input)), means_of(stage) in k.launch.reads
    for vectors in runs(k, stage):
        scalings = [scaling(k, stage, vector) for vector in vectors]
        couplings = [_coupling(k, stage, vector) for vector in vectors] if coupled else []
        for (_, lanes, number), _, (at, out) in each_place(k, vectors, stage.input, stage.output):
            by, x = scalings[number], None
            if value(stage.input) in k.launch.reads:
                x = k.load(k.pointer(value(stage.input)), at, lanes)
            slope = _gated(k, stage, by, x, out, lanes)
            if coupled:
                assert x is not None
                inverse, flat, along = couplings[number]
                normal = b.fmul(b.fsub(x, by.mean), inverse)
                slope = b.fsub(b.fsub(slope, flat), b.fmul(normal, along))
            k.store(b.fmul(by.scale, slope), result, at, lanes)


def _coupling(k: Kernel, stage: S, vector: Vector) -> tuple[ir.Value, ir.Value, ir.Value]:
    """1 / deviation of a vector of channels, and the two means by which each place's gradient
    depends on all."""
    means = k.pointer(means_of(stage))
    flat, along = (
        k.load(means, k.add(row * stage.moments.row, vector.channel), vector.lanes)
        for row in (0, 1)
    )
    return _inverse(k, stage, vector), flat, along
