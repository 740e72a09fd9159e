"""Dense layers: one matrix product for forward and input gradient, one for the weight gradient.

Activations of an image lie in its record, so rows of the left factor are a record apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from convmill.kernels import biases, gating, ir
from convmill.kernels.build import Kernel
from convmill.kernels.functions import activate
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.choices import MatrixTile
from convmill.lower.launches import (
    Images,
    Launch,
    Shares,
    Slot,
    gradient,
    of_matrix,
    value,
)
from convmill.lower.stages import DenseStage
from convmill.plan.graph import LINEAR, Activation

# Launches ----------------------------------------------------------------------------------------


def forward(site: Site[DenseStage]) -> list[Launch]:
    """y = activation(x kernel + bias)."""
    stage = site.stage
    weights = tuple(of_matrix("parameter", index) for index in stage.parameters)
    read = (value(stage.input), *weights)
    over = Images(together=True)
    return [Launch("dense.forward", site.of, over, read, (value(stage.output),))]


def backward(site: Site[DenseStage]) -> list[Launch]:
    """The gradient before the activation, in place, and the gradient of x."""
    stage, behind, launches = site.stage, gradient(site.stage.output), gating.gated(site)
    if site.gradients.input:
        read, over = (behind, of_matrix("pack", stage.kernel)), Images(together=True)
        written = (gradient(stage.input),)
        launches.append(Launch("dense.input_gradient", site.of, over, read, written))
    return launches


def weight_gradients(site: Site[DenseStage]) -> list[Launch]:
    """Gradients of kernel and bias, summed over the images in their order."""
    stage, behind = site.stage, gradient(site.stage.output)
    work = stage.input.channels * stage.output.channels
    read, written = (value(stage.input), behind), (of_matrix("gradient_of", stage.kernel),)
    over = Shares(stage.input.channels)
    launch = Launch("dense.weight_gradient", site.of, over, read, written, work)
    return [launch, *biases.gradients(site)]


def words(stage: DenseStage) -> str:
    """What is computed."""
    name = stage.activation.name
    return "dense" if name == "linear" else f"dense + {name}"


def tiles(stage: DenseStage) -> str:
    """Register tiles."""
    assert stage.choice is not None
    tile, back = stage.choice.forward, stage.choice.weight_gradient
    text = f"{tile.rows} images x {tile.vectors}"
    return text if back is None else f"{text}; dW {back.rows} inputs x {back.vectors}"


# Kernels -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Product:
    """y[image, column] = f(bias[column] + sum over j < inner of x[image, j] weights[j, column]);
    weights are inner x ``weight_row``."""

    x: Slot
    weights: ir.Value
    bias: ir.Value | None
    y: Slot
    inner: int
    columns: int
    weight_row: int
    activation: Activation


def write_forward(k: Kernel) -> None:
    """y = activation(x kernel + bias); a tile of images x units stays in registers."""
    stage = k.stage(DenseStage)
    assert stage.choice is not None
    units = stage.output.channels
    weights = k.pointer(of_matrix("parameter", stage.kernel))
    bias = None if stage.bias is None else k.pointer(of_matrix("parameter", stage.bias))
    x, y, inner = value(stage.input), value(stage.output), stage.input.channels
    product = _Product(x, weights, bias, y, inner, units, units, stage.activation)
    _multiply(k, product, stage.choice.forward)


def write_input_gradient(k: Kernel) -> None:
    """gradient of x = gradient of y times the transposed kernel; tiles of images x inputs."""
    stage = k.stage(DenseStage)
    assert stage.choice is not None
    assert stage.choice.input_gradient is not None
    weights = k.pointer(of_matrix("pack", stage.kernel))
    row = k.build.network.matrices[stage.kernel].pack_row
    behind, result = gradient(stage.output), gradient(stage.input)
    inner, columns = stage.output.channels, stage.input.channels
    product = _Product(behind, weights, None, result, inner, columns, row, LINEAR)
    _multiply(k, product, stage.choice.input_gradient)


def _multiply(k: Kernel, product: _Product, tile: MatrixTile) -> None:
    """A product for all images of a group: ``tile`` images x vectors of columns stay in registers
    while the sums run."""
    images = k.told("images")
    full = k.mul(k.divide(images, tile.rows), tile.rows)
    for first, last, rows in ((0, full, tile.rows), (full, images, 1)):
        with k.loop(first, last, rows) as image:
            for column, counts in k.runs(product.columns, tile.vectors):
                _product_tile(k, product, image, column, rows, counts)


def _product_tile(
    k: Kernel, product: _Product, image: Index, column: Index, rows: int, counts: list[int]
) -> None:
    """``rows`` images times ``len(counts)`` vectors of columns."""
    steps = [k.add(column, v * k.lanes) for v in range(len(counts))]
    starts = [
        k.constant(0.0) if product.bias is None else k.load(product.bias, step, count)
        for step, count in zip(steps, counts, strict=True)
    ]
    sources = [k.record(product.x, k.add(image, row)) for row in range(rows)]
    sums = [[k.variable(start) for start in starts] for _ in range(rows)]
    with k.loop(0, product.inner) as j:
        line = k.mul(j, product.weight_row)
        factors = [
            k.load(product.weights, k.add(line, step), count)
            for step, count in zip(steps, counts, strict=True)
        ]
        for source, totals in zip(sources, sums, strict=True):
            every = k.broadcast(k.load_scalar(source, j))
            for total, factor in zip(totals, factors, strict=True):
                k.set(total, k.fma(every, factor, k.get(total)))
    for row, totals in enumerate(sums):
        target = k.record(product.y, k.add(image, row))
        for total, step, count in zip(totals, steps, counts, strict=True):
            k.store(activate(k, product.activation, k.get(total)), target, step, count)


def write_weight_gradient(k: Kernel) -> None:
    """gradient[input, unit] = sum over images, in order, of x[image, input] gradient[image, unit].

    For a share of the inputs, a tile of inputs x vectors of units stays in registers while the
    images go by; it goes on from what is stored where the images are not a batch's first.
    """
    stage = k.stage(DenseStage)
    assert stage.choice is not None
    tile = stage.choice.weight_gradient
    assert tile is not None
    first, last = k.told("first"), k.told("last")
    full = k.add(first, k.mul(k.divide(k.sub(last, first), tile.rows), tile.rows))
    for start, stop, rows in ((first, full, tile.rows), (full, last, 1)):
        with k.loop(start, stop, rows) as row:
            for unit, counts in k.runs(stage.output.channels, tile.vectors):
                _weight_tile(k, stage, row, unit, rows, counts)


def _weight_tile(
    k: Kernel, stage: DenseStage, row: Index, unit: Index, rows: int, counts: list[int]
) -> None:
    """``rows`` inputs times ``len(counts)`` vectors of units."""
    result = k.pointer(of_matrix("gradient_of", stage.kernel))
    steps = [k.add(unit, v * k.lanes) for v in range(len(counts))]
    lines = [k.mul(k.add(row, r), stage.output.channels) for r in range(rows)]
    sums = [
        [
            k.variable(k.unless_fresh(k.load(result, k.add(line, step), count)))
            for step, count in zip(steps, counts, strict=True)
        ]
        for line in lines
    ]
    with k.loop(0, k.told("images")) as image:
        inputs = k.record(value(stage.input), image)
        outputs = k.record(gradient(stage.output), image)
        factors = [
            k.load(outputs, step, count) for step, count in zip(steps, counts, strict=True)
        ]
        for r, totals in enumerate(sums):
            every = k.broadcast(k.load_scalar(inputs, k.add(row, r)))
            for total, factor in zip(totals, factors, strict=True):
                k.set(total, k.fma(every, factor, k.get(total)))
    for line, totals in zip(lines, sums, strict=True):
        for total, step, count in zip(totals, steps, counts, strict=True):
            k.store(k.get(total), result, k.add(line, step), count)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradients,
    kernels={
        "dense.forward": write_forward,
        "dense.input_gradient": write_input_gradient,
        "dense.weight_gradient": write_weight_gradient,
        **biases.KERNELS,
        **gating.KERNELS,
    },
    words=words,
    tiles=tiles,
)
