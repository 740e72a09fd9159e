"""What happens to parameters at the end of a step: the regularizers' loss, the norms that clipping
wants, the optimizer's step.

Formulas are those of Keras' optimizers. Gradients, weights and slots are flat arrays of one layout.
Parameters that are treated alike share a function; a launch hands it its share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from convmill.kernels import optimizers
from convmill.kernels.build import Build, Kernel
from convmill.kernels.lang import F32, I64, POINTER, Emitter, Index
from convmill.kernels.optimizers import Case, Factors
from convmill.lower.launches import HYPER, PENALTIES, Launch, Shares, of_matrices, of_matrix
from convmill.lower.stages import Matrix, Network
from convmill.plan.graph import Regularizer
from convmill.plan.recipe import AVERAGE, GATHERED, Clip, Optimizer

# Launches ----------------------------------------------------------------------------------------


def penalties(network: Network) -> list[Launch]:
    """The regularizers' loss at the weights before the step."""
    return [
        Launch(
            "update.penalty",
            f"matrix{matrix.index}",
            Shares(1),
            (of_matrix("parameter", matrix.index),),
            (PENALTIES,),
            matrix.size,
        )
        for matrix in _regularized(network)
    ]


def norms(network: Network) -> list[Launch]:
    """Squared norms of all gradients, where clipping asks for them."""
    if _norm_clip(network) is None:
        return []
    return [
        Launch(
            "update.norm",
            f"matrix{matrix.index}",
            Shares(1),
            tuple(of_matrix(kind, matrix.index) for kind in ("parameter", "gradient_of", "state")),
            (of_matrix("norm", matrix.index),),
            matrix.size,
        )
        for matrix in network.trainable
    ]


def updates(network: Network, lanes: int) -> list[Launch]:
    """The optimizer's step on every trainable parameter; whole vectors of rows, for the copies
    behind it."""
    return [
        Launch(
            "update.step",
            f"matrix{matrix.index}",
            Shares(matrix.rows, lanes),
            (
                of_matrix("parameter", matrix.index),
                of_matrix("gradient_of", matrix.index),
                of_matrix("state", matrix.index),
                HYPER,
                *of_matrices("norm", _clipped_by(network, matrix)),
            ),
            (of_matrix("parameter", matrix.index), of_matrix("state", matrix.index)),
            matrix.size,
        )
        for matrix in network.trainable
    ]


def _regularized(network: Network) -> list[Matrix]:
    return [matrix for matrix in network.matrices if matrix.regularizer is not None]


def _norm_clip(network: Network) -> Clip | None:
    """Clipping by a norm, where the recipe clips so."""
    assert network.recipe is not None
    clip = network.recipe.optimizer.clip
    return None if clip is None or clip.kind == "value" else clip


def _clipped_by(network: Network, matrix: Matrix) -> tuple[Matrix, ...]:
    """The parameters whose norms scale the gradient of ``matrix``."""
    clip = _norm_clip(network)
    if clip is None:
        return ()
    return (matrix,) if clip.kind == "norm" else network.trainable


# Kernels -----------------------------------------------------------------------------------------


def write_penalty(k: Kernel) -> None:
    """l1 sum |w| + l2 sum w^2 of one parameter, into the step's row."""
    matrix = k.build.matrix(k.launch)
    regularizer = matrix.regularizer
    assert regularizer is not None
    every = _regularized(k.build.network)
    write = k.build.helper(("penalty", regularizer), lambda: _penalty(k.build, regularizer))
    at = k.add(k.mul(k.told("step"), len(every)), every.index(matrix))
    target = k.at(k.pointer(PENALTIES), at)
    k.call(write, k.pointer(of_matrix("parameter", matrix.index)), matrix.size, target)


def write_norm(k: Kernel) -> None:
    """The sum of the squares of one parameter's gradient, regularizer included."""
    matrix = k.build.matrix(k.launch)
    regularizer = matrix.regularizer
    write = k.build.helper(("norm", regularizer), lambda: _squared_norm(k.build, regularizer))
    kinds = ("parameter", "gradient_of", "state", "norm")
    *arrays, norm = (k.pointer(of_matrix(kind, matrix.index)) for kind in kinds)
    k.call(write, *arrays, matrix.size, norm)


def write_step(k: Kernel) -> None:
    """One step of the optimizer on a share of a parameter's rows."""
    matrix = k.build.matrix(k.launch)
    kind = ("step", matrix.regularizer, matrix.decays)
    write = k.build.helper(kind, lambda: _update(k.build, matrix.regularizer, matrix.decays))
    kinds = ("parameter", "gradient_of", "state")
    arrays = (k.pointer(of_matrix(kind, matrix.index)) for kind in kinds)
    first, last = (k.mul(k.told(name), matrix.columns) for name in ("first", "last"))
    assert k.build.network.recipe is not None
    told = len(k.build.network.recipe.optimizer.factors)
    hyper = k.at(k.pointer(HYPER), k.mul(k.told("step"), told))
    k.call(write, *arrays, first, last, hyper, _clip_scale(k, matrix))


def _clip_scale(k: Kernel, matrix: Matrix) -> ir.Value:
    """limit / max(norm, limit), by the norm of this parameter or of all."""
    clip, b = _norm_clip(k.build.network), k.builder
    if clip is None:
        return ir.Constant(F32, 1.0)
    total: ir.Value = ir.Constant(F32, 0.0)
    for one in _clipped_by(k.build.network, matrix):
        total = b.fadd(total, k.load_scalar(k.pointer(of_matrix("norm", one.index)), 0))
    limit = ir.Constant(F32, clip.limit)
    return b.fdiv(limit, k.larger(k.intrinsic("sqrt", total), limit))


# Functions that parameters share -----------------------------------------------------------------


@dataclass(frozen=True)
class _Arrays:
    """What a function is given of one parameter: weights, gradients, and its first slot; slots of
    one kind lie ``apart`` elements behind those of the kind before."""

    e: Emitter
    optimizer: Optimizer
    regularizer: Regularizer | None
    apart: int

    def slot(self, name: str, at: Index) -> Index:
        """Where the slot of that name begins for the weight at ``at``."""
        return self.e.add(at, self.optimizer.slots.index(name) * self.apart)

    def load(self, at: Index, count: int) -> tuple[ir.Value, ir.Value]:
        """Weights, and the gradients that a step goes by: regularized, and where batches are
        gathered the mean of them."""
        e = self.e
        weights, gradients, slots = e.arguments[:3]
        weight = e.load(weights, at, count)
        gradient = regularized(e, self.regularizer, e.load(gradients, at, count), weight)
        if self.optimizer.accumulate == 1:
            return weight, gradient
        total = e.builder.fadd(gradient, e.load(slots, self.slot(GATHERED, at), count))
        return weight, e.builder.fdiv(total, e.constant(self.optimizer.accumulate))


def _arrays(e: Emitter, build: Build, regularizer: Regularizer | None) -> _Arrays:
    assert build.network.recipe is not None
    optimizer = build.network.recipe.optimizer
    return _Arrays(e, optimizer, regularizer, build.network.parameter_elements)


def _update(build: Build, regularizer: Regularizer | None, decays: bool) -> ir.Function:
    """(weights, gradients, slots, first, last, hyper, scale): one batch for elements [first, last).

    ``hyper`` holds the optimizer's factors for this batch; ``scale`` is clipping's.
    """
    e = _helper(build, "update", [POINTER, POINTER, POINTER, I64, I64, POINTER, F32])
    arrays = _arrays(e, build, regularizer)
    first, last, hyper, scale = e.arguments[3:]
    optimizer, told = arrays.optimizer, {}
    for place, name in enumerate(optimizer.factors):
        told[name] = e.broadcast(e.load_scalar(hyper, place))
    factor = e.broadcast(scale)

    def move(at: Index, count: int) -> None:
        _move(arrays, told, factor, decays, at, count)

    if optimizer.accumulate == 1:
        _run(e, first, last, move)
        return e.finish()
    moves = e.load_scalar(hyper, optimizer.factors.index("moves"))
    none = ir.Constant(F32, 0.0)
    with e.when(e.builder.fcmp_ordered("!=", moves, none)):
        _run(e, first, last, move)
    with e.when(e.builder.fcmp_ordered("==", moves, none)):
        _run(e, first, last, lambda at, count: _gather(arrays, told, at, count))
    return e.finish()


def _move(
    arrays: _Arrays, told: Factors, factor: ir.Value, decays: bool, at: Index, count: int
) -> None:
    """One step of the optimizer on a vector."""
    e, b, optimizer = arrays.e, arrays.e.builder, arrays.optimizer
    weight, gradient = arrays.load(at, count)
    gradient = _clipped(e, optimizer.clip, gradient, factor)
    if optimizer.weight_decay and decays:
        decay = b.fmul(told["rate"], e.constant(optimizer.weight_decay))
        weight = b.fsub(weight, b.fmul(weight, decay))
    held = {
        name: e.load(e.arguments[2], arrays.slot(name, at), count) for name in optimizer.slots
    }
    weight = optimizers.step(Case(e, optimizer, weight, gradient, held, told))
    if optimizer.accumulate > 1:
        held[GATHERED] = e.constant(0.0)
    _store(arrays, told, weight, held, at, count)


def _gather(arrays: _Arrays, told: Factors, at: Index, count: int) -> None:
    """One batch of those that only add their gradients up."""
    e = arrays.e
    weights, gradients, slots = e.arguments[:3]
    weight = e.load(weights, at, count)
    gradient = regularized(e, arrays.regularizer, e.load(gradients, at, count), weight)
    held = {GATHERED: e.load(slots, arrays.slot(GATHERED, at), count)}
    held[GATHERED] = e.builder.fadd(gradient, held[GATHERED])
    if arrays.optimizer.average:
        held[AVERAGE] = e.load(slots, arrays.slot(AVERAGE, at), count)
    _store(arrays, told, weight, held, at, count)


def _store(
    arrays: _Arrays,
    told: Factors,
    weight: ir.Value,
    held: dict[str, ir.Value],
    at: Index,
    count: int,
) -> None:
    """The moving average follows the weights, or takes their place; all is stored."""
    e, b = arrays.e, arrays.e.builder
    if arrays.optimizer.average:
        rest = b.fmul(b.fsub(e.constant(1.0), told["lasts"]), weight)
        average = held[AVERAGE] = e.fma(told["lasts"], held[AVERAGE], rest)
        taken = b.fcmp_ordered("!=", told["overwrites"], e.constant(0.0))
        weight = b.select(taken, average, weight)
    e.store(weight, e.arguments[0], at, count)
    for name, value in held.items():
        e.store(value, e.arguments[2], arrays.slot(name, at), count)


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


def _squared_norm(build: Build, regularizer: Regularizer | None) -> ir.Function:
    """(weights, gradients, slots, size, result): sum of the squares of what a step goes by."""
    e = _helper(build, "norm", [POINTER, POINTER, POINTER, I64, POINTER])
    arrays, (size, result) = _arrays(e, build, regularizer), e.arguments[3:]
    total = e.variable(e.constant(0.0))

    def one(at: Index, count: int) -> None:
        _, value = arrays.load(at, count)
        if count < e.lanes:
            value = e.builder.select(e.mask(count), value, e.constant(0.0))
        e.set(total, e.fma(value, value, e.get(total)))

    _run(e, 0, size, one)
    e.store_scalar(e.reduce("fadd", e.get(total)), result, 0)
    return e.finish()


def _penalty(build: Build, regularizer: Regularizer) -> ir.Function:
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


KERNELS = {
    "update.penalty": write_penalty,
    "update.norm": write_norm,
    "update.step": write_step,
}
