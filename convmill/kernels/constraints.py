"""What holds weights within bounds behind each step: norms along some of their axes.

That no weight falls below zero is seen to where it is updated (``update.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import Emitter, Index
from convmill.lower.launches import Launch, Shares, of_matrix
from convmill.lower.network import Matrix, Network
from convmill.plan.graph.parameters import NormRange


def constraints(network: Network) -> list[Launch]:
    """Norms brought into their ranges, for each trained parameter that asks for it."""
    assert network.recipe is not None
    if network.recipe.optimizer.bridged:
        return []
    found = []
    for matrix in network.trainable:
        slot = of_matrix("parameter", matrix.index)
        if isinstance(matrix.constraint, NormRange):
            of = f"matrix{matrix.index}"
            found.append(Launch("constraints.norm", of, Shares(1), (slot,), (slot,), matrix.size))
    return found


@dataclass(frozen=True)
class _Axis:
    """Some axes of a parameter that lie behind one another in memory: how many places they have,
    how many elements lie between two of them, and whether a norm is taken along them."""

    size: int
    stride: int
    summed: bool


def write_norm(k: Kernel) -> None:
    """w = w desired / (epsilon + norm), for every norm."""
    matrix = k.build.matrix(k.launch)
    constraint = matrix.constraint
    assert isinstance(constraint, NormRange)
    weights = k.pointer(of_matrix("parameter", matrix.index))
    *outer, last = _axes(matrix, constraint)
    each = [axis for axis in outer if not axis.summed]
    along = [axis for axis in outer if axis.summed]
    with _places(k, each, 0) as start:
        if last.summed:
            _scale_together(k, constraint, weights, start, along, last)
        else:
            _scale_lanes(k, constraint, weights, start, along, last)


def _axes(matrix: Matrix, constraint: NormRange) -> list[_Axis]:
    """The axes as they are held, neighbours of a kind taken together."""
    found: list[_Axis] = []
    stride = 1
    for axis in reversed(matrix.axes):
        size, summed = matrix.shape[axis], axis in constraint.axes
        if found and found[0].summed == summed:
            found[0] = _Axis(found[0].size * size, found[0].stride, summed)
        else:
            found.insert(0, _Axis(size, stride, summed))
        stride *= size
    return found or [_Axis(1, 1, summed=True)]


@contextmanager
def _places(e: Emitter, axes: Sequence[_Axis], start: Index) -> Iterator[Index]:
    """Loops over all places of ``axes``: the offset of each."""
    with ExitStack() as loops:
        at = start
        for axis in axes:
            at = e.add(at, e.mul(loops.enter_context(e.loop(0, axis.size)), axis.stride))
        yield at


def _scale_together(
    e: Emitter,
    constraint: NormRange,
    weights: ir.Value,
    start: Index,
    along: Sequence[_Axis],
    last: _Axis,
) -> None:
    """One norm, along the last axis too: vectors of one sum."""
    total = e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        weight = e.load(weights, e.add(here, at), count)
        e.set(total, e.fma(weight, weight, e.get(total)))

    with _places(e, along, start) as here:
        e.vectors(last.size, add)
    factor = _factor(e, constraint, e.broadcast(e.reduce("fadd", e.get(total))))
    with _places(e, along, start) as here:
        e.vectors(last.size, lambda at, count: _scale(e, weights, e.add(here, at), count, factor))


def _scale_lanes(
    e: Emitter,
    constraint: NormRange,
    weights: ir.Value,
    start: Index,
    along: Sequence[_Axis],
    last: _Axis,
) -> None:
    """A norm for each place of the last axis: every lane has its own sum."""

    def scale(offset: Index, count: int) -> None:
        total = e.variable(e.constant(0.0))
        with _places(e, along, e.add(start, offset)) as here:
            weight = e.load(weights, here, count)
            e.set(total, e.fma(weight, weight, e.get(total)))
        factor = _factor(e, constraint, e.get(total))
        with _places(e, along, e.add(start, offset)) as here:
            _scale(e, weights, here, count, factor)

    e.vectors(last.size, scale)


def _scale(e: Emitter, weights: ir.Value, at: Index, count: int, factor: ir.Value) -> None:
    e.store(e.builder.fmul(e.load(weights, at, count), factor), weights, at, count)


def _factor(e: Emitter, constraint: NormRange, squares: ir.Value) -> ir.Value:
    """desired / (epsilon + norm), by the sum of the squares."""
    b, norm = e.builder, e.intrinsic("sqrt", squares)
    least, most = e.constant(constraint.least), e.constant(constraint.most)
    desired = b.select(b.fcmp_unordered(">", norm, least), norm, least)
    desired = b.select(b.fcmp_unordered("<", desired, most), desired, most)
    if constraint.rate != 1:
        rest = b.fmul(norm, e.constant(1 - constraint.rate))
        desired = e.fma(desired, e.constant(constraint.rate), rest)
    return b.fdiv(desired, b.fadd(e.constant(constraint.epsilon), norm))


KERNELS = {"constraints.norm": write_norm}
