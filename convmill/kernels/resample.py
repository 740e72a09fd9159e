"""An image of another size: each place is a sum of neighbours, by weights that are known for each
row and each column. Interpolation, and adaptive average pooling."""

from __future__ import annotations

from convmill.kernels.build import Kernel
from convmill.kernels.lang import I32, I64, Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.moves import Resample, Upsample
from convmill.plan.graph.operations import AdaptivePooling
from convmill.plan.resampling import Taps, taps_of, transposed


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = sums of neighbours of x."""
    read, written = (value(site.stage.input),), (value(site.stage.output),)
    return [Launch("resample.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x, by the same weights transposed."""
    if not site.gradients.input:
        return []
    read, written = (gradient(site.stage.output),), (gradient(site.stage.input),)
    return [Launch("resample.backward", site.of, Images(), read, written)]


def words(stage: PlainStage) -> str:
    """What is computed."""
    match stage.operation:
        case Upsample((rows, columns), interpolation):
            return f"upsample {rows}x{columns} {interpolation}"
        case Resample(interpolation):
            return f"resize {interpolation}"
    return "average pooling"


def _taps(stage: PlainStage) -> tuple[Taps, Taps]:
    """Those of rows and of columns."""
    assert isinstance(stage.operation, (Upsample, Resample, AdaptivePooling))
    sizes = [(tensor.height, tensor.width) for tensor in (stage.input, stage.output)]
    return taps_of(stage.operation, *sizes)


def write_forward(k: Kernel) -> None:
    """y, channels in the lanes."""
    stage = k.stage(PlainStage)
    _write(k, *_taps(stage), stage)


def write_backward(k: Kernel) -> None:
    """gradient of x, channels in the lanes."""
    stage = k.stage(PlainStage)
    rows, columns = _taps(stage)
    rows, columns = transposed(rows, stage.input.height), transposed(columns, stage.input.width)
    _write(k, rows, columns, stage)


def _write(k: Kernel, rows: Taps, columns: Taps, stage: PlainStage) -> None:
    """Every place of what is written = the sum over its taps of what is read."""
    (read,), (written,) = k.launch.reads, k.launch.writes
    source, target = stage.input, stage.output
    if k.launch.kernel == "resample.backward":
        source, target = target, source
    x, y = k.pointer(read), k.pointer(written)
    tables = [
        (k.table(axis.starts, I32), k.table([one for each in axis.weights for one in each]))
        for axis in (rows, columns)
    ]

    def first(axis: int, place: Index) -> Index:
        return k.index(k.builder.sext(k.load_scalar(tables[axis][0], place, I32), I64))

    with k.loop(0, target.height) as row, k.loop(0, target.width) as column:
        top, left = first(0, row), first(1, column)
        corner = k.add(source.origin, k.mul(top, source.row), k.mul(left, source.channels))
        goal = k.add(target.origin, k.mul(row, target.row), k.mul(column, target.channels))

        def one(channel: Index, count: int) -> None:
            total = k.variable(k.constant(0.0))
            with k.loop(0, rows.count) as i, k.loop(0, columns.count) as j:
                weight = k.builder.fmul(
                    k.load_scalar(tables[0][1], k.add(k.mul(row, rows.count), i)),
                    k.load_scalar(tables[1][1], k.add(k.mul(column, columns.count), j)),
                )
                away = k.add(k.mul(i, source.row), k.mul(j, source.channels), channel)
                found = k.load(x, k.add(corner, away), count)
                k.set(total, k.fma(found, k.broadcast(weight), k.get(total)))
            k.store(k.get(total), y, k.add(goal, channel), count)

        k.vectors(target.channels, one)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"resample.forward": write_forward, "resample.backward": write_backward},
    words=words,
)
