"""Normalization of an image by its own statistics: layer, group, root mean square, unit length; and
a factor for each channel alone.

With n the normalized values and r what x was multiplied by: the gradient of x is that of n, less
its mean, less n times the mean of its product with n, all times r. In training n and r are kept.
"""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.broadcast import Pattern, along, write_gradient
from convmill.kernels.build import Kernel
from convmill.kernels.groups import Group, Groups, Place, offset
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Slot, gradient, of_matrix, value
from convmill.lower.lines import FLOAT_BYTES
from convmill.lower.stages import PlainStage
from convmill.lower.tensors import NO_HALO
from convmill.plan.graph.operations import Normalize

MOST_UNIT_FACTOR = 1e12  # by which Keras' UnitNormalization multiplies


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = gamma n + beta."""
    stage, operation = site.stage, _operation(site.stage)
    weights = tuple(
        of_matrix("parameter", index)
        for index in (operation.gamma, operation.beta)
        if index is not None
    )
    kept = (_normalized(stage), _factors(stage)) if site.gradients.output else ()
    read, written = (value(stage.input), *weights), (value(stage.output), *kept)
    return [Launch("normalize.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x."""
    stage, operation = site.stage, _operation(site.stage)
    if not site.gradients.input:
        return []
    gamma = () if operation.gamma is None else (of_matrix("parameter", operation.gamma),)
    read = (gradient(stage.output), _normalized(stage), _factors(stage), *gamma)
    written = (gradient(stage.input),)
    return [Launch("normalize.backward", site.of, Images(), read, written)]


def weight_gradient(site: Site[PlainStage]) -> list[Launch]:
    """gradient of gamma = sum of that of y times n; of beta = sum of that of y."""
    stage, operation = site.stage, _operation(site.stage)
    over, launches = pattern(stage).shares(site.lanes), []
    for name, index, more in (
        ("gamma", operation.gamma, (_normalized(stage),)),
        ("beta", operation.beta, ()),
    ):
        if index is not None:
            read, written = (gradient(stage.output), *more), (of_matrix("gradient_of", index),)
            kernel = f"normalize.{name}_gradient"
            work = 2 * stage.output.values
            launches.append(Launch(kernel, site.of, over, read, written, work))
    return launches


def _operation(stage: PlainStage) -> Normalize:
    assert isinstance(stage.operation, Normalize)
    return stage.operation


def words(stage: PlainStage) -> str:
    """What is computed."""
    operation = _operation(stage)
    if operation.kind == "fixed":
        return "scale"
    return f"{operation.kind} normalization"


def pattern(stage: PlainStage) -> Pattern:
    """Where gamma and beta have values: along the axes; of groups for each channel."""
    operation = _operation(stage)
    axes = (-1,) if operation.kind in ("group", "fixed") else operation.axes
    assert axes is not None
    return along(stage.output, axes)


def _groups(stage: PlainStage) -> Groups:
    operation = _operation(stage)
    if operation.kind == "group":
        return Groups(stage.input, (-3, -2, -1), operation.groups)
    assert operation.axes is not None
    return Groups(stage.input, operation.axes)


def _normalized(stage: PlainStage) -> Slot:
    """n, without a border."""
    return Slot(f"normalized/{stage.output.buffer}", FLOAT_BYTES * stage.output.values, "image")


def _factors(stage: PlainStage) -> Slot:
    """r of each group."""
    size = FLOAT_BYTES * _groups(stage).count
    return Slot(f"factors/{stage.output.buffer}", size, "image")


# Kernels -----------------------------------------------------------------------------------------


def write_forward(k: Kernel) -> None:
    """y, and n and r where they are kept."""
    stage, b = k.stage(PlainStage), k.builder
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))
    keeps = _normalized(stage) in k.launch.writes
    flat = stage.output.padded(NO_HALO)

    def one(group: Group) -> None:
        mean, factor = _statistics(k, stage, group)
        if keeps:
            group.keep(factor, k.pointer(_factors(stage)))

        def normalize(place: Place, count: int) -> None:
            found = k.load(x, offset(k, stage.input, place), count)
            if mean is not None:
                found = b.fsub(found, mean)
            found = b.fmul(found, factor)
            if keeps:
                k.store(found, k.pointer(_normalized(stage)), offset(k, flat, place), count)
            k.store(
                _scaled(k, stage, found, place, count), y, offset(k, stage.output, place), count
            )

        group.values(normalize)

    _groups(stage).each(k, one)


def _statistics(k: Kernel, stage: PlainStage, group: Group) -> tuple[ir.Value | None, ir.Value]:
    """What is taken away from a group's values (None: nothing), and what they are multiplied by."""
    operation, b = _operation(stage), k.builder
    x, one = k.pointer(value(stage.input)), k.constant(1.0)

    def load(place: Place, count: int) -> ir.Value:
        return k.load(x, offset(k, stage.input, place), count)

    share, mean = k.constant(1 / group.of.size), None
    if operation.kind == "fixed":
        return None, one
    if operation.kind in ("layer", "group"):
        mean = group.mean(load)

    def square(place: Place, count: int) -> ir.Value:
        away = load(place, count) if mean is None else b.fsub(load(place, count), mean)
        return b.fmul(away, away)

    squares = group.sum(square)
    if operation.kind == "unit":
        factor = b.fdiv(one, k.intrinsic("sqrt", squares))
        most = k.constant(MOST_UNIT_FACTOR)
        return None, b.select(b.fcmp_unordered("<", factor, most), factor, most)
    spread = b.fadd(b.fmul(squares, share), k.constant(operation.epsilon))
    return mean, b.fdiv(one, k.intrinsic("sqrt", spread))


def _scaled(
    k: Kernel, stage: PlainStage, normalized: ir.Value, place: Place, count: int
) -> ir.Value:
    """gamma n + beta, as far as there are such."""
    operation, at = _operation(stage), pattern(stage)
    if operation.gamma is not None:
        gamma = at.load(k, k.pointer(of_matrix("parameter", operation.gamma)), place, count)
        normalized = k.builder.fmul(normalized, gamma)
    if operation.beta is not None:
        beta = at.load(k, k.pointer(of_matrix("parameter", operation.beta)), place, count)
        normalized = k.builder.fadd(normalized, beta)
    return normalized


def write_backward(k: Kernel) -> None:
    """gradient of x."""
    stage, b, operation = k.stage(PlainStage), k.builder, _operation(k.stage(PlainStage))
    behind, result = k.pointer(gradient(stage.output)), k.pointer(gradient(stage.input))
    flat, at = stage.output.padded(NO_HALO), pattern(stage)

    def slope(place: Place, count: int) -> ir.Value:
        """The gradient of n."""
        found = k.load(behind, offset(k, stage.output, place), count)
        if operation.gamma is None:
            return found
        gamma = at.load(k, k.pointer(of_matrix("parameter", operation.gamma)), place, count)
        return b.fmul(found, gamma)

    def normalized(place: Place, count: int) -> ir.Value:
        return k.load(k.pointer(_normalized(stage)), offset(k, flat, place), count)

    def product(place: Place, count: int) -> ir.Value:
        return b.fmul(slope(place, count), normalized(place, count))

    def one(group: Group) -> None:
        factor = group.kept(k.pointer(_factors(stage)))
        share = k.constant(1.0 if operation.kind == "unit" else 1 / group.of.size)
        mean = along_n = None
        if operation.kind in ("layer", "group"):
            mean = group.mean(slope)
        if operation.kind != "fixed":
            along_n = b.fmul(group.sum(product), share)

        def derive(place: Place, count: int) -> None:
            found = slope(place, count)
            if mean is not None:
                found = b.fsub(found, mean)
            if along_n is not None:
                found = b.fsub(found, b.fmul(normalized(place, count), along_n))
            k.store(b.fmul(found, factor), result, offset(k, stage.input, place), count)

        group.values(derive)

    _groups(stage).each(k, one)


def write_gamma_gradient(k: Kernel) -> None:
    """Sums of the gradient of y times n."""
    stage = k.stage(PlainStage)
    index, flat = _operation(stage).gamma, stage.output.padded(NO_HALO)
    assert index is not None

    def term(image: Index, place: Place, count: int) -> ir.Value:
        behind, kept = (k.record(s, image) for s in (gradient(stage.output), _normalized(stage)))
        slope = k.load(behind, offset(k, stage.output, place), count)
        return k.builder.fmul(slope, k.load(kept, offset(k, flat, place), count))

    write_gradient(k, pattern(stage), index, term)


def write_beta_gradient(k: Kernel) -> None:
    """Sums of the gradient of y."""
    stage = k.stage(PlainStage)
    index = _operation(stage).beta
    assert index is not None

    def term(image: Index, place: Place, count: int) -> ir.Value:
        behind = k.record(gradient(stage.output), image)
        return k.load(behind, offset(k, stage.output, place), count)

    write_gradient(k, pattern(stage), index, term)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradient,
    kernels={
        "normalize.forward": write_forward,
        "normalize.backward": write_backward,
        "normalize.gamma_gradient": write_gamma_gradient,
        "normalize.beta_gradient": write_beta_gradient,
    },
    words=words,
)
