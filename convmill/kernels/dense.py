"""Dense layers: one matrix product for forward and input gradient, one for the weight gradient."""

from __future__ import annotations

from dataclasses import dataclass

from convmill.kernels import biases, gating, ir, product
from convmill.kernels.ahead import prefetch
from convmill.kernels.build import Kernel
from convmill.kernels.lang import I8, Index
from convmill.kernels.operation import Operation, Site
from convmill.kernels.product import Product
from convmill.lower.choices import MatrixTile
from convmill.lower.launches import Images, Launch, Shares, gradient, of_matrix, value
from convmill.lower.lines import FLOAT_BYTES
from convmill.lower.stages import DenseStage
from convmill.plan.graph.activations import LINEAR

MOST_LAID_OUT = 512  # images whose gradients lie side by side: they stay in the second cache

# Launches ----------------------------------------------------------------------------------------


def forward(site: Site[DenseStage]) -> list[Launch]:
    """y = activation(x kernel + bias)."""
    stage = site.stage
    weights = tuple(of_matrix("parameter", index) for index in stage.parameters)
    assert stage.choice is not None
    over = _over(stage, stage.output.channels, stage.choice.forward, site.lanes)
    read = (value(stage.input), *weights)
    return [Launch("dense.forward", site.of, over, read, (value(stage.output),), _work(stage))]


def backward(site: Site[DenseStage]) -> list[Launch]:
    """The gradient before the activation, in place, and the gradient of x."""
    stage, behind, launches = site.stage, gradient(site.stage.output), gating.gated(site)
    assert stage.choice is not None
    if site.gradients.input:
        tile = stage.choice.input_gradient
        assert tile is not None
        kind = "pack" if stage.choice.panel is None else "parameter"
        read, written = (behind, of_matrix(kind, stage.kernel)), (gradient(stage.input),)
        over = _over(stage, stage.input.channels, tile, site.lanes)
        launches.append(Launch("dense.input_gradient", site.of, over, read, written, _work(stage)))
    return launches


def _over(stage: DenseStage, columns: int, tile: MatrixTile, lanes: int) -> Images | Shares:
    """What a product goes over: groups of images, or shares of its columns."""
    assert stage.choice is not None
    return Images(together=tile.rows) if stage.choice.panel is None else Shares(columns, lanes)


def _work(stage: DenseStage) -> int:
    return stage.input.channels * stage.output.channels


def weight_gradients(site: Site[DenseStage]) -> list[Launch]:
    """Gradients of kernel and bias, summed over the images in their order."""
    stage, behind = site.stage, gradient(site.stage.output)
    read, written = (value(stage.input), behind), (of_matrix("gradient_of", stage.kernel),)
    over = Shares(stage.input.channels)
    assert stage.choice is not None
    tile, scratch = stage.choice.weight_gradient, 0
    assert tile is not None
    if stage.choice.panel is not None:
        scratch = MOST_LAID_OUT * tile.vectors * site.lanes
    name, work = "dense.weight_gradient", _work(stage)
    launch = Launch(name, site.of, over, read, written, work, scratch=scratch)
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
    if stage.choice.panel is not None:
        text += f", {stage.choice.panel} inputs at a time for the whole batch"
    return text if back is None else f"{text}; dW {back.rows} inputs x {back.vectors}"


# Kernels -----------------------------------------------------------------------------------------


def write_forward(k: Kernel) -> None:
    """y = activation(x kernel + bias); a tile of images x units stays in registers."""
    stage = k.stage(DenseStage)
    assert stage.choice is not None
    units, inner = stage.output.channels, stage.input.channels
    weights = k.pointer(of_matrix("parameter", stage.kernel))
    bias = None if stage.bias is None else k.pointer(of_matrix("parameter", stage.bias))
    x, y = value(stage.input), value(stage.output)
    wanted, tile = Product(x, bias, y, inner, units, stage.activation), stage.choice.forward
    if stage.choice.panel is None:
        product.over_group(k, wanted, weights, units, tile)
    else:
        fill = product.straight(k, weights, units)
        product.over_batch(k, wanted, tile, stage.choice.panel, fill)


def write_input_gradient(k: Kernel) -> None:
    """gradient of x = gradient of y times the transposed kernel; tiles of images x inputs."""
    stage = k.stage(DenseStage)
    assert stage.choice is not None
    tile = stage.choice.input_gradient
    assert tile is not None
    inner, columns = stage.output.channels, stage.input.channels
    wanted = Product(gradient(stage.output), None, gradient(stage.input), inner, columns, LINEAR)
    if stage.choice.panel is None:
        weights = k.pointer(of_matrix("pack", stage.kernel))
        row = k.build.network.matrices[stage.kernel].copy("pack").column
        product.over_group(k, wanted, weights, row, tile)
    else:
        fill = product.turned(k, k.pointer(of_matrix("parameter", stage.kernel)), wanted)
        product.over_batch(k, wanted, tile, stage.choice.panel, fill)


def write_weight_gradient(k: Kernel) -> None:
    """gradient[input, unit] = sum over images, in order, of x[image, input] gradient[image, unit].

    For a share of the inputs, a tile of inputs x vectors of units stays in registers while the
    images go by; it goes on from what is stored where the images are not a batch's first. Where
    the layer is large, the units' gradients of many images are laid out side by side first.
    """
    stage = k.stage(DenseStage)
    assert stage.choice is not None
    tile = stage.choice.weight_gradient
    assert tile is not None
    behind, images, fresh = gradient(stage.output), k.told("images"), k.is_fresh()
    for unit, counts in k.runs(stage.output.channels, tile.vectors):
        if stage.choice.panel is None:
            rows = _Rows(k.at(k.pointer(behind), unit), k.stride(behind), 0, images)
            _weight_rows(k, stage, rows, unit, counts, fresh)
            continue
        with k.loop(0, images, MOST_LAID_OUT) as start:
            rows = _Rows(
                k.told("scratch"),
                FLOAT_BYTES * len(counts) * k.lanes,
                start,
                k.minimum(MOST_LAID_OUT, k.sub(images, start)),
            )
            with k.loop(0, rows.count) as image:
                source = k.record(behind, k.add(start, image))
                for v, count in enumerate(counts):
                    one = k.load(source, k.add(unit, v * k.lanes), count)
                    k.store(one, rows.of(k, image), v * k.lanes)
            first = k.builder.and_(fresh, k.equal(start, 0))
            _weight_rows(k, stage, rows, unit, counts, first)


@dataclass(frozen=True)
class _Rows:
    """Gradients of some units for ``count`` images from ``start`` on, ``stride`` bytes apart."""

    pointer: ir.Value
    stride: Index
    start: Index
    count: Index

    def of(self, k: Kernel, image: Index) -> ir.Value:
        """Where those of an image lie, counted from ``start``."""
        return k.at(self.pointer, k.mul(image, self.stride), I8)


def _weight_rows(
    k: Kernel, stage: DenseStage, rows: _Rows, unit: Index, counts: list[int], fresh: ir.Value
) -> None:
    """The share's inputs, a tile of them at a time, times ``len(counts)`` vectors of units."""
    assert stage.choice is not None
    tile = stage.choice.weight_gradient
    assert tile is not None
    for row, together in k.in_pieces(k.told("first"), k.told("last"), tile.rows):
        _weight_tile(k, stage, rows, (row, unit), together, counts, fresh)


def _weight_tile(
    k: Kernel,
    stage: DenseStage,
    rows: _Rows,
    place: tuple[Index, Index],
    together: int,
    counts: list[int],
    fresh: ir.Value,
) -> None:
    """So many inputs ``together`` times ``len(counts)`` vectors of units, at (input, unit)."""
    assert stage.choice is not None
    result, (row, unit) = k.pointer(of_matrix("gradient_of", stage.kernel)), place
    is_large = stage.choice.panel is not None
    steps = [v * k.lanes for v in range(len(counts))]
    parts = list(zip(steps, counts, strict=True))
    lines = [
        k.at(result, k.add(k.mul(k.add(row, r), stage.output.channels), unit))
        for r in range(together)
    ]
    zero = k.constant(0.0)
    sums = [
        [
            k.variable(k.builder.select(fresh, zero, k.load(line, step, count)))
            for step, count in parts
        ]
        for line in lines
    ]
    with k.loop(0, rows.count) as image:
        inputs = k.record(value(stage.input), k.add(rows.start, image))
        if is_large:  # the last input of the next tile: no prefetcher goes from record to record
            prefetch(k, inputs, k.add(row, 2 * together - 1))
        factors = [k.load(rows.of(k, image), step, count) for step, count in parts]
        for r, totals in enumerate(sums):
            every = k.broadcast(k.load_scalar(inputs, k.add(row, r)))
            for total, factor in zip(totals, factors, strict=True):
                k.set(total, k.fma(every, factor, k.get(total)))
    for line, totals in zip(lines, sums, strict=True):
        for total, (step, count) in zip(totals, parts, strict=True):
            k.store(k.get(total), line, step, count)


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
