"""What happens to parameters at the end of a step: the regularizers' loss, the norms that clipping
wants, the optimizer's step.

Formulas are those of Keras' optimizers. Gradients, weights and slots are flat arrays of one layout.
Parameters that are treated alike share a function; a launch hands it its share.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from convmill.kernels import optimizers
from convmill.kernels.build import Build, Kernel
from convmill.kernels.lang import F32, I64, POINTER, Emitter, Index
from convmill.lower.launches import HYPER, PENALTIES, Launch, Shares, of_matrices, of_matrix
from convmill.lower.stages import Matrix, Network
from convmill.plan.graph import Regularizer
from convmill.plan.recipe import Clip

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
            (of_matrix("parameter", matrix.index), of_matrix("gradient_of", matrix.index)),
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
    kinds = ("parameter", "gradient_of", "norm")
    weights, gradients, norm = (k.pointer(of_matrix(kind, matrix.index)) for kind in kinds)
    k.call(write, weights, gradients, matrix.size, norm)


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


def _update(build: Build, regularizer: Regularizer | None, decays: bool) -> ir.Function:
    """(weights, gradients, slots, first, last, hyper, scale): one step on elements [first, last).

    ``hyper`` holds the optimizer's factors for this step; slots of one kind lie behind all those of
    the kind before; ``scale`` is clipping's.
    """
    arguments = [POINTER, POINTER, POINTER, I64, I64, POINTER, F32]
    e = _helper(build, "update", arguments)
    assert build.network.recipe is not None
    optimizer, slot_step = build.network.recipe.optimizer, build.network.parameter_elements
    b = e.builder
    weights, gradients, slots, first, last, hyper, scale = e.arguments
    factors = {
        name: e.broadcast(e.load_scalar(hyper, place))
        for place, name in enumerate(optimizer.factors)
    }
    factor = e.broadcast(scale)
    clip = optimizer.clip

    def one(at: Index, count: int) -> None:
        weight = e.load(weights, at, count)
        gradient = regularized(e, regularizer, e.load(gradients, at, count), weight)
        if clip is not None and clip.kind == "value":
            top, bottom = e.constant(clip.limit), e.constant(-clip.limit)
            gradient = b.select(b.fcmp_unordered("<", gradient, top), gradient, top)
            gradient = b.select(b.fcmp_unordered(">", gradient, bottom), gradient, bottom)
        elif clip is not None:
            gradient = b.fmul(gradient, factor)
        if optimizer.weight_decay and decays:
            decay = b.fmul(factors["rate"], e.constant(optimizer.weight_decay))
            weight = b.fsub(weight, b.fmul(weight, decay))
        held = [
            e.load(slots, e.add(at, kind * slot_step), count)
            for kind in range(len(optimizer.slots))
        ]
        weight, state = optimizers.step(e, optimizer, weight, gradient, held, factors)
        e.store(weight, weights, at, count)
        for kind, value in enumerate(state):
            e.store(value, slots, e.add(at, kind * slot_step), count)

    _run(e, first, last, one)
    return e.finish()


def _squared_norm(build: Build, regularizer: Regularizer | None) -> ir.Function:
    """(weights, gradients, size, result): sum of the squares of the regularized gradient."""
    e = _helper(build, "norm", [POINTER, POINTER, I64, POINTER])
    weights, gradients, size, result = e.arguments
    total = e.variable(e.constant(0.0))

    def one(at: Index, count: int) -> None:
        weight = e.load(weights, at, count)
        value = regularized(e, regularizer, e.load(gradients, at, count), weight)
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
