"""The optimizer's step on a run of weights, the norms that clipping wants, and transposed copies.

Formulas are those of Keras' optimizers. Gradients, weights and slots are flat arrays of one layout.
"""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.lang import F32, I64, POINTER, Emitter, Index
from convmill.plan.graph import Regularizer
from convmill.plan.recipe import Optimizer


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


def _run(e: Emitter, first: Index, last: Index, body) -> None:  # type: ignore[no-untyped-def]
    """``body(offset, count)`` over [first, last): vectors, then single elements."""
    span = e.sub(last, first)
    full = e.add(first, e.mul(e.divide(span, e.lanes), e.lanes))
    with e.loop(first, full, e.lanes) as at:
        body(at, e.lanes)
    with e.loop(full, last) as at:
        body(at, 1)


def update(
    module: ir.Module,
    name: str,
    optimizer: Optimizer,
    regularizer: Regularizer | None,
    decays: bool,
    slot_step: int,
    lanes: int,
) -> ir.Function:
    """(weights, gradients, slots, first, last, hyper, scale): one step on elements [first, last).

    ``hyper`` holds the learning rate and, for Adam, the rate with its bias corrections; slots of
    one kind lie ``slot_step`` elements behind those of the kind before; ``scale`` is clipping's.
    """
    e = Emitter(module, name, [POINTER, POINTER, POINTER, I64, I64, POINTER, F32], lanes)
    b = e.builder
    weights, gradients, slots, first, last, hyper, scale = e.arguments
    rate = e.broadcast(e.load_scalar(hyper, 0))
    corrected = e.broadcast(e.load_scalar(hyper, 1))
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
            decay = b.fmul(rate, e.constant(optimizer.weight_decay))
            weight = b.fsub(weight, b.fmul(weight, decay))
        held = [
            e.load(slots, e.add(at, kind * slot_step), count)
            for kind in range(len(optimizer.slots))
        ]
        moved, state = _step(e, optimizer, gradient, held, rate, corrected)
        e.store(b.fadd(weight, moved), weights, at, count)
        for kind, value in enumerate(state):
            e.store(value, slots, e.add(at, kind * slot_step), count)

    _run(e, first, last, one)
    return e.finish()


def _step(
    e: Emitter,
    optimizer: Optimizer,
    gradient: ir.Value,
    held: list[ir.Value],
    rate: ir.Value,
    corrected: ir.Value,
) -> tuple[ir.Value, list[ir.Value]]:
    """What is added to the weights, and the new slots in the order of ``optimizer.slots``."""
    b = e.builder
    state = dict(zip(optimizer.slots, held, strict=True))
    if optimizer.name == "sgd":
        pull = b.fmul(gradient, rate)
        if not optimizer.momentum:
            return b.fneg(pull), []
        speed = b.fsub(b.fmul(state["momentum"], e.constant(optimizer.momentum)), pull)
        if optimizer.nesterov:
            return b.fsub(b.fmul(speed, e.constant(optimizer.momentum)), pull), [speed]
        return speed, [speed]
    square = b.fmul(gradient, gradient)
    epsilon = e.constant(optimizer.epsilon)
    if optimizer.name == "rmsprop":
        rest = e.constant(1 - optimizer.rho)
        state["velocity"] = e.fma(
            state["velocity"], e.constant(optimizer.rho), b.fmul(square, rest)
        )
        spread = state["velocity"]
        if optimizer.centered:
            mean = e.fma(
                state["average_gradient"], e.constant(optimizer.rho), b.fmul(gradient, rest)
            )
            state["average_gradient"] = mean
            spread = b.fsub(spread, b.fmul(mean, mean))
        width = e.intrinsic("sqrt", b.fadd(spread, epsilon))
        pull = b.fdiv(b.fmul(rate, gradient), width)
        if optimizer.momentum > 0:
            pull = e.fma(state["momentum"], e.constant(optimizer.momentum), pull)
            state["momentum"] = pull
        return b.fneg(pull), [state[slot] for slot in optimizer.slots]
    momentum, velocity = state["momentum"], state["velocity"]
    momentum = e.fma(b.fsub(gradient, momentum), e.constant(1 - optimizer.beta_1), momentum)
    velocity = e.fma(b.fsub(square, velocity), e.constant(1 - optimizer.beta_2), velocity)
    state["momentum"] = momentum
    state["velocity"] = velocity
    if optimizer.amsgrad:
        velocity = e.larger(velocity, state["velocity_hat"])
        state["velocity_hat"] = velocity
    width = b.fadd(e.intrinsic("sqrt", velocity), epsilon)
    moved = b.fneg(b.fdiv(b.fmul(momentum, corrected), width))
    return moved, [state[slot] for slot in optimizer.slots]


def squared_norm(
    module: ir.Module, name: str, regularizer: Regularizer | None, lanes: int
) -> ir.Function:
    """(weights, gradients, size, result): sum of the squares of the regularized gradient."""
    e = Emitter(module, name, [POINTER, POINTER, I64, POINTER], lanes)
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


def penalty(module: ir.Module, name: str, regularizer: Regularizer, lanes: int) -> ir.Function:
    """(weights, size, result): l1 sum |w| + l2 sum w^2."""
    e = Emitter(module, name, [POINTER, I64, POINTER], lanes)
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


def transpose(module: ir.Module, lanes: int) -> ir.Function:
    """(matrix, rows, columns, copy, copy row, first row, last row): copy[c, r] = matrix[r, c].

    Squares of lanes x lanes are turned in registers; rows that do not exist become zeros, so that
    kernels may read whole vectors of the copy. ``first row`` is a multiple of lanes.
    """
    e = Emitter(module, "transpose", [POINTER, I64, I64, POINTER, I64, I64, I64], lanes)
    matrix, _, columns, copy, copy_row, first, last = e.arguments
    full_columns = e.mul(e.divide(columns, lanes), lanes)
    full_rows = e.add(first, e.mul(e.divide(e.sub(last, first), lanes), lanes))
    with e.loop(first, full_rows, lanes) as row:
        with e.loop(0, full_columns, lanes) as column:
            square = [
                e.load(matrix, e.add(e.mul(e.add(row, r), columns), column)) for r in range(lanes)
            ]
            for c, line in enumerate(e.transpose(square)):
                e.store(line, copy, e.add(e.mul(e.add(column, c), copy_row), row))
        _turn_slowly(e, (row, e.add(row, lanes)), (full_columns, columns))
    padded = e.minimum(e.add(full_rows, lanes), copy_row)
    with e.when(e.less(full_rows, last)):
        _turn_slowly(e, (full_rows, padded), (0, columns))
    return e.finish()


def _turn_slowly(e: Emitter, rows: tuple[Index, Index], columns: tuple[Index, Index]) -> None:
    """Transpose what fills no square, element by element; zeros below the last row."""
    matrix, height, width, copy, copy_row, *_ = e.arguments
    with e.loop(*columns) as column, e.loop(*rows) as row:
        inside = e.less(row, height)
        safe = e.builder.select(inside, e.index(row), ir.Constant(I64, 0))
        value = e.load_scalar(matrix, e.add(e.mul(safe, width), column))
        value = e.builder.select(inside, value, ir.Constant(F32, 0.0))
        e.store_scalar(value, copy, e.add(e.mul(column, copy_row), row))
