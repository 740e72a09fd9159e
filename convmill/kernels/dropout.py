"""Dropout and noise: in training by random numbers, which backward are drawn again; else a copy."""

from __future__ import annotations

import math
from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import rows
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.kernels.random import Draws
from convmill.lower.launches import SEEDS, Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.lower.tensors import Tensor
from convmill.plan.graph.random import Dropout, Noise

SELU_LEAST = -1.6732632423543772 * 1.0507009873554805


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = x with its noise; outside training y = x."""
    x, y = value(site.stage.input), value(site.stage.output)
    if not site.training:
        return [Launch("dropout.copy", site.of, Images(), (x,), (y,))]
    return [Launch("dropout.forward", site.of, Images(), (x, SEEDS), (y,))]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x: by the same numbers, drawn again."""
    if not site.gradients.input:
        return []
    read, written = (gradient(site.stage.output), SEEDS), (gradient(site.stage.input),)
    return [Launch("dropout.backward", site.of, Images(), read, written)]


def _operation(stage: PlainStage) -> Dropout | Noise:
    assert isinstance(stage.operation, (Dropout, Noise))
    return stage.operation


def words(stage: PlainStage) -> str:
    """What is computed."""
    match _operation(stage):
        case Dropout(rate):
            return f"dropout {rate:g}"
        case Noise("alpha", rate):
            return f"alpha dropout {rate:g}"
        case Noise(_, deviation):
            return f"noise {deviation:g}"
    raise AssertionError("no other")


def copied(k: Kernel) -> None:
    """y = x."""
    stage = k.stage(PlainStage)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))

    def one(a: Index, b: Index, _: Index, count: int) -> None:
        k.store(k.load(x, a, count), y, b, count)

    rows(k, stage.input, stage.output, one)


def write_noise(k: Kernel) -> None:
    """target = source with its noise; backward what of the gradient comes through."""
    stage, operation = k.stage(PlainStage), _operation(k.stage(PlainStage))
    is_backward = k.launch.kernel == "dropout.backward"
    tensors = (stage.output, stage.input) if is_backward else (stage.input, stage.output)
    source, target = k.pointer(k.launch.reads[0]), k.pointer(k.launch.writes[0])
    draws = Draws(k, operation.seed, of_batch=operation.one_mask)
    amount = operation.rate if isinstance(operation, Dropout) else operation.amount
    make = _MADE["dropout" if isinstance(operation, Dropout) else operation.kind]

    def one(a: Index, c: Index, numbers: ir.Value, count: int) -> None:
        made = make(k, amount, draws, numbers, k.load(source, a, count), is_backward)
        k.store(made, target, c, count)

    if operation.shared:
        _pixels(k, tensors, operation.shared, draws, one)
    else:
        rows(k, *tensors, lambda a, c, at, count: one(a, c, draws.numbers(at), count))


def _pixels(
    k: Kernel,
    tensors: tuple[Tensor, Tensor],
    shared: tuple[int, ...],
    draws: Draws,
    body: Callable[[Index, Index, ir.Value, int], None],
) -> None:
    """Every vector of channels, where values along ``shared`` axes have one number."""
    source, target = tensors
    with k.loop(0, source.height) as row, k.loop(0, source.width) as column:
        line: Index = 0 if -3 in shared else k.mul(row, source.width)
        pixel = k.mul(k.add(line, 0 if -2 in shared else column), source.channels)
        here, there = (
            k.add(one.origin, k.mul(row, one.row), k.mul(column, one.channels))
            for one in (source, target)
        )

        def vector(at: Index, count: int) -> None:
            alike = -1 in shared
            numbers = draws.numbers(pixel if alike else k.add(pixel, at), alike=alike)
            body(k.add(here, at), k.add(there, at), numbers, count)

        k.vectors(source.channels, vector)


def _dropped(
    k: Kernel, rate: float, draws: Draws, numbers: ir.Value, given: ir.Value, _: bool
) -> ir.Value:
    """Divided by what is kept of all, or zero."""
    scale = k.constant(1 / (1 - rate) if rate < 1 else 0.0)
    kept = draws.at_least(rate, numbers)
    return k.builder.select(kept, k.builder.fmul(given, scale), k.constant(0.0))


def _added(
    k: Kernel,
    deviation: float,
    draws: Draws,
    numbers: ir.Value,
    given: ir.Value,
    is_backward: bool,
) -> ir.Value:
    if is_backward:
        return given
    return k.fma(draws.normal(numbers), k.constant(deviation), given)


def _multiplied(
    k: Kernel, deviation: float, draws: Draws, numbers: ir.Value, given: ir.Value, _: bool
) -> ir.Value:
    factor = k.fma(draws.normal(numbers), k.constant(deviation), k.constant(1.0))
    return k.builder.fmul(given, factor)


def _alpha(
    k: Kernel,
    rate: float,
    draws: Draws,
    numbers: ir.Value,
    given: ir.Value,
    is_backward: bool,
) -> ir.Value:
    """SELU's least value where it falls; then all scaled and moved to keep mean and variance
    (Klambauer et al. 2017)."""
    b = k.builder
    spread = (1 - rate) * (1 + rate * SELU_LEAST**2)
    scale = 1 / math.sqrt(spread) if spread else math.inf
    kept = draws.at_least(rate, numbers)
    if is_backward:
        return b.select(kept, b.fmul(given, k.constant(scale)), k.constant(0.0))
    chosen = b.select(kept, given, k.constant(SELU_LEAST))
    return k.fma(chosen, k.constant(scale), k.constant(-scale * SELU_LEAST * rate))


_Make = Callable[[Kernel, float, Draws, ir.Value, ir.Value, bool], ir.Value]
_MADE: dict[str, _Make] = {
    "dropout": _dropped,
    "sum": _added,
    "product": _multiplied,
    "alpha": _alpha,
}

OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={
        "dropout.copy": copied,
        "dropout.forward": write_noise,
        "dropout.backward": write_noise,
    },
    words=words,
)
