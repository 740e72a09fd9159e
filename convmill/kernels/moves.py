"""Values moved to other places: padding, cropping, repeating, turning, another shape.

All of it is one kernel: nests of loops that copy. Loops are brought into the steps that they make
in memory; where both sides go on by one value, vectors are copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import F32, Emitter, Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.lower.tensors import Tensor
from convmill.plan import moves
from convmill.plan.graph.moves import Crop, Flatten, Move, Nest, Pad, Reshape, Upsample


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = values of x, elsewhere."""
    read, written = (value(site.stage.input),), (value(site.stage.output),)
    return [Launch("moves.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = the sum of those of all places that a value was copied to."""
    if not site.gradients.input:
        return []
    read, written = (gradient(site.stage.output),), (gradient(site.stage.input),)
    return [Launch("moves.backward", site.of, Images(), read, written)]


def words(stage: PlainStage) -> str:
    """What is computed."""
    match stage.operation:
        case Pad():
            return "pad"
        case Crop():
            return "crop"
        case Upsample((rows, columns)):
            return f"upsample {rows}x{columns}"
        case Reshape() | Flatten():
            return "reshape"
    return "move"


def nests(stage: PlainStage) -> tuple[Nest, ...]:
    """The copies that an operation is."""
    shape = (stage.input.height, stage.input.width, stage.input.channels)
    match stage.operation:
        case Pad(border):
            return (moves.padded(shape, border),)
        case Crop(border):
            return (moves.cropped(shape, border),)
        case Upsample(factors):
            return (moves.enlarged(shape, factors),)
        case Reshape() | Flatten():
            return (moves.whole((stage.input.values,)).copy(),)
        case Move(parts):
            return parts
    raise AssertionError(f"{stage.operation} moves nothing")


# Loops in memory ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loop:
    """One loop: its turns, and the steps on both sides."""

    size: int
    read: int
    written: int


def _loops(nest: Nest, source: Tensor, target: Tensor) -> list[_Loop]:
    """Loops of a nest, those over several rows of a tensor cut into one over rows and one inside
    a row, where that can be; neighbours that go on alike are one."""
    loops = [_Loop(*each) for each in zip(nest.sizes, nest.read, nest.written, strict=True)]
    rows = [(source.width * source.channels, "read"), (target.width * target.channels, "written")]
    for length, side in sorted(rows, reverse=True):
        loops = [part for loop in loops for part in _cut(loop, length, getattr(loop, side))]
    kept: list[_Loop] = []
    for loop in loops:
        if loop.size == 1:
            continue
        last = kept[-1] if kept else None
        spans = (loop.read * loop.size, loop.written * loop.size)
        if last and (last.read, last.written) == spans and _in_row(last, loop, source, target):
            kept[-1] = replace(loop, size=last.size * loop.size)
        else:
            kept.append(loop)
    return kept


def _cut(loop: _Loop, length: int, step: int) -> list[_Loop]:
    """A loop over whole rows of ``length`` as two, over rows and inside one."""
    if step <= 0 or length % step or loop.size * step <= length or loop.size * step % length:
        return [loop]
    inside = length // step
    outer = _Loop(loop.size // inside, loop.read * inside, loop.written * inside)
    return [outer, replace(loop, size=inside)]


def _in_row(outer: _Loop, inner: _Loop, source: Tensor, target: Tensor) -> bool:
    """Whether two loops as one stay inside a row wherever rows have a border."""
    count = outer.size * inner.size
    return all(
        not any(tensor.halo) or abs(step) * count <= tensor.width * tensor.channels
        for tensor, step in ((source, inner.read), (target, inner.written))
    )


def _steps(
    tensor: Tensor, start: int, sizes: Sequence[int], steps: Sequence[int]
) -> tuple[int, tuple[int, ...]] | None:
    """Where in memory loops start, and how far each goes on; None where one leaves its row."""
    if not any(tensor.halo):
        return start, tuple(steps)
    length = tensor.width * tensor.channels
    row, column = divmod(start, length)
    inside = [(n - 1) * step for n, step in zip(sizes, steps, strict=True) if step % length]
    if column + sum(min(each, 0) for each in inside) < 0:
        return None
    if column + sum(max(each, 0) for each in inside) >= length:
        return None
    found = (step if step % length else step // length * tensor.row for step in steps)
    return tensor.origin + row * tensor.row + column, tuple(found)


class _Side:
    """One side of a nest: offsets in memory for the turns at hand of its loops."""

    def __init__(self, e: Emitter, tensor: Tensor, start: int, loops: Sequence[tuple[int, int]]):
        self.e, self.tensor, self.start = e, tensor, start
        sizes, steps = zip(*loops, strict=True) if loops else ((), ())
        self.steps: tuple[int, ...] = steps
        self.found = _steps(tensor, start, sizes, steps)

    def goes_by_one(self, number: int) -> bool:
        """Whether a loop's turns are neighbours in memory: those of rows of one value are not,
        where rows have a border."""
        return self.found is not None and self.found[1][number] == 1

    def offset(self, turns: Sequence[Index]) -> Index:
        """Where the value of these turns lies."""
        e = self.e
        start, steps = self.found or (self.start, self.steps)
        flat = e.add(start, *(e.mul(turn, step) for turn, step in zip(turns, steps, strict=True)))
        if self.found is not None:
            return flat
        length = self.tensor.width * self.tensor.channels
        row = e.divide(flat, length)
        return e.add(flat, self.tensor.origin, e.mul(row, self.tensor.row - length))


@contextmanager
def _turns(e: Emitter, sizes: Sequence[int]) -> Iterator[list[Index]]:
    """Loops inside one another."""
    with ExitStack() as stack:
        yield [stack.enter_context(e.loop(0, size)) for size in sizes]


# Kernels -----------------------------------------------------------------------------------------


def write_forward(k: Kernel) -> None:
    """y = values of x, and zero where nothing is written."""
    stage = k.stage(PlainStage)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))
    parts = nests(stage)
    if sum(math.prod(nest.sizes) for nest in parts) < stage.output.values:
        k.fill_zero(y, stage.output.size)
    for nest in parts:
        loops = _loops(nest, stage.input, stage.output)
        source = _Side(k, stage.input, nest.source, [(one.size, one.read) for one in loops])
        target = _Side(k, stage.output, nest.target, [(one.size, one.written) for one in loops])
        last = len(loops) - 1
        vectors = bool(loops) and source.goes_by_one(last) and target.goes_by_one(last)
        with _turns(k, [one.size for one in (loops[:-1] if vectors else loops)]) as turns:
            if vectors:
                _copy_run(k, (x, source), (y, target), turns, loops[-1].size)
            else:
                one = k.load_scalar(x, source.offset(turns))
                k.store_scalar(one, y, target.offset(turns))


def _copy_run(
    k: Kernel,
    read: tuple[ir.Value, _Side],
    written: tuple[ir.Value, _Side],
    turns: Sequence[Index],
    size: int,
) -> None:
    """Neighbours on both sides, a vector at a time."""
    (x, source), (y, target) = read, written
    first, goal = k.at(x, source.offset([*turns, 0])), k.at(y, target.offset([*turns, 0]))
    k.vectors(size, lambda at, count: k.store(k.load(first, at, count), goal, at, count))


def write_backward(k: Kernel) -> None:
    """gradient of x = the sum over all places that a value was copied to; zero where to none."""
    stage = k.stage(PlainStage)
    behind, result = k.pointer(gradient(stage.output)), k.pointer(gradient(stage.input))
    parts = nests(stage)
    if sum(_values_read(nest) for nest in parts) < stage.input.values:
        k.fill_zero(result, stage.input.size)
    for nest in parts:
        loops = _loops(nest, stage.input, stage.output)
        loops = [one for one in loops if one.read] + [one for one in loops if not one.read]
        source = _Side(k, stage.input, nest.source, [(one.size, one.read) for one in loops])
        target = _Side(k, stage.output, nest.target, [(one.size, one.written) for one in loops])
        kept = sum(1 for one in loops if one.read)
        last = kept - 1
        vectors = kept > 0 and source.goes_by_one(last) and target.goes_by_one(last)
        summed = [one.size for one in loops[kept:]]
        with _turns(k, [one.size for one in loops[: last if vectors else kept]]) as turns:
            if vectors:
                _sum_run(k, (result, source), (behind, target), turns, loops[last].size, summed)
            else:
                _sum_one(k, (result, source), (behind, target), turns, summed)


def _values_read(nest: Nest) -> int:
    sizes = zip(nest.sizes, nest.read, strict=True)
    return math.prod(size for size, step in sizes if step or size == 1)


def _sum_run(
    k: Kernel,
    summed_to: tuple[ir.Value, _Side],
    read: tuple[ir.Value, _Side],
    turns: Sequence[Index],
    size: int,
    summed: Sequence[int],
) -> None:
    """Neighbours on both sides, a vector at a time."""
    (result, source), (behind, target) = summed_to, read
    goal = k.at(result, source.offset([*turns, 0, *(0 for _ in summed)]))

    def one(at: Index, count: int) -> None:
        total = k.variable(k.constant(0.0))
        with _turns(k, summed) as inner:
            found = k.load(behind, k.add(target.offset([*turns, 0, *inner]), at), count)
            k.set(total, k.builder.fadd(k.get(total), found) if summed else found)
        k.store(k.get(total), goal, at, count)

    k.vectors(size, one)


def _sum_one(
    k: Kernel,
    summed_to: tuple[ir.Value, _Side],
    read: tuple[ir.Value, _Side],
    turns: Sequence[Index],
    summed: Sequence[int],
) -> None:
    """One value."""
    (result, source), (behind, target) = summed_to, read
    total = k.variable(ir.Constant(F32, 0.0))
    with _turns(k, summed) as inner:
        found = k.load_scalar(behind, target.offset([*turns, *inner]))
        k.set(total, k.builder.fadd(k.get(total), found) if summed else found)
    k.store_scalar(k.get(total), result, source.offset([*turns, *(0 for _ in summed)]))


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"moves.forward": write_forward, "moves.backward": write_backward},
    words=words,
)
