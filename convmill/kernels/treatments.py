"""What is done to parameters, as functions that those of one treatment share: steps of optimizers,
norms, regularizers. Gradients, weights and slots are flat arrays of one layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from convmill.kernels import ir, optimizers
from convmill.kernels.build import Build
from convmill.kernels.lang import F32, F64, I64, POINTER, Emitter, Index
from convmill.kernels.optimizers import Case, Factors
from convmill.lower.network import Matrix
from convmill.plan.graph.parameters import NonNegative, Regularizer
from convmill.plan.recipe import AVERAGE, GATHERED, Clip, Optimizer


@dataclass(frozen=True)
class Treatment:
    """What is asked of a parameter; those of one treatment share their functions."""

    regularizer: Regularizer | None
    decays: bool
    non_negative: bool


def treatment_of(matrix: Matrix) -> Treatment:
    non_negative = isinstance(matrix.constraint, NonNegative)
    return Treatment(matrix.regularizer, matrix.decays, non_negative)


@dataclass(frozen=True)
class _Parameter:
    """One parameter in a function: where its weights, gradients and slots begin; slots of one kind
    lie ``apart`` elements behind those of the kind before."""

    e: Emitter
    optimizer: Optimizer
    treatment: Treatment
    apart: int

    def gradient(self, weight: ir.Value, at: Index, count: int) -> ir.Value:
        """Gradients of the batch, regularized."""
        found = self.e.load(self.e.arguments[1], at, count)
        return regularized(self.e, self.treatment.regularizer, found, weight)

    def gathered(self, weight: ir.Value, at: Index, count: int) -> ir.Value:
        """The sum of the gradients of this batch and of those before that made no step."""
        held = self.slot(GATHERED, at, count)
        return self.e.builder.fadd(self.gradient(weight, at, count), held)

    def wanted(self, weight: ir.Value, at: Index, count: int) -> ir.Value:
        """The gradients that a step goes by: the batch's, or the mean of those gathered."""
        if self.optimizer.accumulate == 1:
            return self.gradient(weight, at, count)
        total = self.gathered(weight, at, count)
        return self.e.builder.fdiv(total, self.e.constant(self.optimizer.accumulate))

    def slot(self, name: str, at: Index, count: int) -> ir.Value:
        """The slot of that name."""
        return self.e.load(self.e.arguments[2], self._place(name, at), count)

    def store(self, held: Mapping[str, ir.Value], at: Index, count: int) -> None:
        """New slots."""
        for name, value in held.items():
            self.e.store(value, self.e.arguments[2], self._place(name, at), count)

    def _place(self, name: str, at: Index) -> Index:
        return self.e.add(at, self.optimizer.slots.index(name) * self.apart)


def _parameter(e: Emitter, build: Build, treatment: Treatment) -> _Parameter:
    assert build.network.recipe is not None
    optimizer = build.network.recipe.optimizer
    return _Parameter(e, optimizer, treatment, build.network.parameter_elements)


def step(build: Build, treatment: Treatment) -> ir.Function:
    """(weights, gradients, slots, first, last, hyper, scale): one batch for elements [first, last).

    ``hyper`` holds the optimizer's factors for this batch; ``scale`` is clipping's.
    """
    e = _helper(build, "update", [POINTER, POINTER, POINTER, I64, I64, POINTER, F32])
    one = _parameter(e, build, treatment)
    first, last, hyper, scale = e.arguments[3:]
    factors = {
        name: e.broadcast(e.load_scalar(hyper, place))
        for place, name in enumerate(one.optimizer.factors)
    }
    clip = e.broadcast(scale)

    def move(at: Index, count: int) -> None:
        _move(one, factors, clip, at, count)

    if one.optimizer.accumulate == 1:
        _run(e, first, last, move)
        return e.finish()
    moves = e.load_scalar(hyper, one.optimizer.factors.index("moves"))
    none = ir.Constant(F32, 0.0)
    with e.when(e.builder.fcmp_ordered("!=", moves, none)):
        _run(e, first, last, move)
    with e.when(e.builder.fcmp_ordered("==", moves, none)):
        _run(e, first, last, lambda at, count: _gather(one, factors, at, count))
    return e.finish()


def _move(one: _Parameter, factors: Factors, clip: ir.Value, at: Index, count: int) -> None:
    """One step of the optimizer on a vector; ``clip`` scales gradients."""
    e, b, optimizer = one.e, one.e.builder, one.optimizer
    weight = e.load(e.arguments[0], at, count)
    gradient = _clipped(e, optimizer.clip, one.wanted(weight, at, count), clip)
    if optimizer.weight_decay and one.treatment.decays:
        decay = b.fmul(factors["rate"], e.constant(optimizer.weight_decay))
        weight = b.fsub(weight, b.fmul(weight, decay))
    held = {name: one.slot(name, at, count) for name in optimizer.slots}
    weight = optimizers.step(Case(e, optimizer, weight, gradient, held, factors))
    if optimizer.accumulate > 1:
        held[GATHERED] = e.constant(0.0)
    _store(one, factors, weight, held, at, count)


def _gather(one: _Parameter, factors: Factors, at: Index, count: int) -> None:
    """One batch of those that only add their gradients up."""
    weight = one.e.load(one.e.arguments[0], at, count)
    held = {GATHERED: one.gathered(weight, at, count)}
    if one.optimizer.average:
        held[AVERAGE] = one.slot(AVERAGE, at, count)
    _store(one, factors, weight, held, at, count)


def _store(
    one: _Parameter,
    factors: Factors,
    weight: ir.Value,
    held: dict[str, ir.Value],
    at: Index,
    count: int,
) -> None:
    """The moving average follows the weights, or takes their place; all is stored."""
    e, b, zero = one.e, one.e.builder, one.e.constant(0.0)
    if one.optimizer.average:
        rest = b.fmul(b.fsub(e.constant(1.0), factors["lasts"]), weight)
        average = held[AVERAGE] = e.fma(factors["lasts"], held[AVERAGE], rest)
        taken = b.fcmp_ordered("!=", factors["overwrites"], zero)
        weight = b.select(taken, average, weight)
    if one.treatment.non_negative:
        weight = b.select(b.fcmp_ordered("<", weight, zero), zero, weight)
    e.store(weight, e.arguments[0], at, count)
    one.store(held, at, count)


def _clipped(e: Emitter, clip: Clip | None, gradient: ir.Value, factor: ir.Value) -> ir.Value:
    """The gradient within its limits, or times the ``factor`` that brings its norm there."""
    b = e.builder
    if clip is None:
        return gradient
    if clip.kind != "value":
        return b.fmul(gradient, factor)
    top, bottom = e.constant(clip.limit), e.constant(-clip.limit)
    gradient = b.select(b.fcmp_unordered("<", gradient, top), gradient, top)
    return b.select(b.fcmp_unordered(">", gradient, bottom), gradient, bottom)


def slope(build: Build, treatment: Treatment) -> ir.Function:
    """(weights, gradients, size): the regularizer's gradient is added."""
    e = _helper(build, "slope", [POINTER, POINTER, I64])
    one, (weights, gradients, size) = _parameter(e, build, treatment), e.arguments

    def add(at: Index, count: int) -> None:
        e.store(one.gradient(e.load(weights, at, count), at, count), gradients, at, count)

    _run(e, 0, size, add)
    return e.finish()


def norm(build: Build, treatment: Treatment) -> ir.Function:
    """(weights, gradients, slots, size, result): the norm of what a step goes by, its squares added
    up in double precision, which they cannot leave."""
    e = _helper(build, "norm", [POINTER, POINTER, POINTER, I64, POINTER])
    one, (size, result) = _parameter(e, build, treatment), e.arguments[3:]
    b, wide = e.builder, ir.VectorType(F64, e.lanes)
    total = e.variable(ir.splat(wide, 0.0))

    def add(at: Index, count: int) -> None:
        value = one.wanted(e.load(e.arguments[0], at, count), at, count)
        if count < e.lanes:
            value = b.select(e.mask(count), value, e.constant(0.0))
        value = b.fpext(value, wide)
        e.set(total, e.fma(value, value, e.get(total)))

    _run(e, 0, size, add)
    norm = e.intrinsic("sqrt", e.reduce("fadd", e.get(total)))
    e.store_scalar(b.fptrunc(norm, F32), result, 0)
    return e.finish()


def penalty(build: Build, regularizer: Regularizer) -> ir.Function:
    """(weights, size, result): l1 sum |w| + l2 sum w^2."""
    e = _helper(build, "penalty", [POINTER, I64, POINTER])
    b = e.builder
    weights, size, result = e.arguments
    total = e.variable(e.constant(0.0))

    def one(at: Index, count: int) -> None:
        weight = e.load(weights, at, count)
        part = b.fmul(e.intrinsic("fabs", weight), e.constant(regularizer.l1))
        part = e.fma(b.fmul(weight, weight), e.constant(regularizer.l2), part)
        e.set(total, b.fadd(e.get(total), part))

    _run(e, 0, size, one)
    e.store_scalar(e.reduce("fadd", e.get(total)), result, 0)
    return e.finish()


def regularized(
    e: Emitter, regularizer: Regularizer | None, gradient: ir.Value, weight: ir.Value
) -> ir.Value:
    """gradient + l1 sign(w) + 2 l2 w."""
    b = e.builder
    if regularizer is None:
        return gradient
    if regularizer.l2:
        gradient = e.fma(weight, e.constant(2 * regularizer.l2), gradient)
    if regularizer.l1:
        # At zero JAX, and so Keras on it, takes 1 as the slope of |w|.
        up = b.fcmp_unordered(">=", weight, e.constant(0.0))
        slope = b.select(up, e.constant(regularizer.l1), e.constant(-regularizer.l1))
        gradient = b.fadd(gradient, slope)
    return gradient


def _run(e: Emitter, first: Index, last: Index, body: Callable[[Index, int], None]) -> None:
    """``body(offset, count)`` over [first, last): vectors, then single elements."""
    span = e.sub(last, first)
    full = e.add(first, e.mul(e.divide(span, e.lanes), e.lanes))
    with e.loop(first, full, e.lanes) as at:
        body(at, e.lanes)
    with e.loop(full, last) as at:
        body(at, 1)


def _helper(build: Build, kind: str, arguments: list[ir.Type]) -> Emitter:
    """A function that is no launch's alone; there may be several of a kind."""
    return Emitter(build.module, f"{kind}.{len(build.helpers)}", arguments, build.machine.lanes)
