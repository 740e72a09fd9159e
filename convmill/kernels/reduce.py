"""Sums, means, maxima and minima along axes of an image."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.groups import Group, Groups, Place, offset
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.operations import Reduce


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = the sum of each group of x, its mean, or its largest or least value."""
    read, written = (value(site.stage.input),), (value(site.stage.output),)
    return [Launch("reduce.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = that of its group, the same for all; or for all that are the extreme."""
    stage = site.stage
    if not site.gradients.input:
        return []
    needed = (value(stage.input), value(stage.output)) if _is_extreme(stage) else ()
    read, written = (gradient(stage.output), *needed), (gradient(stage.input),)
    return [Launch("reduce.backward", site.of, Images(), read, written)]


def _operation(stage: PlainStage) -> Reduce:
    assert isinstance(stage.operation, Reduce)
    return stage.operation


def _is_extreme(stage: PlainStage) -> bool:
    return _operation(stage).kind in ("max", "min")


def _groups(stage: PlainStage) -> Groups:
    """Those that share a sum; each is one value of the output, at its own place there."""
    return Groups(stage.input, _operation(stage).axes)


def _share(k: Kernel, group: Group) -> float:
    """What each value counts."""
    mean = _operation(k.stage(PlainStage)).kind == "mean"
    return 1 / group.of.size if mean else 1.0


def write_forward(k: Kernel) -> None:
    """y."""
    stage = k.stage(PlainStage)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))

    def load(place: Place, count: int) -> ir.Value:
        return k.load(x, offset(k, stage.input, place), count)

    def one(group: Group) -> None:
        match _operation(stage).kind:
            case "max":
                found = group.largest(load)
            case "min":
                negated = group.largest(lambda *place: k.builder.fneg(load(*place)))
                found = k.builder.fneg(negated)
            case _:
                found = k.builder.fmul(group.sum(load), k.constant(_share(k, group)))
        at = offset(k, stage.output, group.place)
        k.store(found, y, at, 1 if group.of.across_lanes else group.count)

    _groups(stage).each(k, one)


def write_backward(k: Kernel) -> None:
    """gradient of x."""
    stage = k.stage(PlainStage)
    behind, result = k.pointer(gradient(stage.output)), k.pointer(gradient(stage.input))

    def of_group(pointer: ir.Value, group: Group) -> ir.Value:
        at = offset(k, stage.output, group.place)
        if group.of.across_lanes:
            return k.broadcast(k.load_scalar(pointer, at))
        return k.load(pointer, at, group.count)

    def alike(group: Group) -> None:
        slope = k.builder.fmul(of_group(behind, group), k.constant(_share(k, group)))
        group.values(
            lambda place, count: k.store(slope, result, offset(k, stage.input, place), count)
        )

    def to_the_extreme(group: Group) -> None:
        x, extreme = k.pointer(value(stage.input)), of_group(k.pointer(value(stage.output)), group)
        zero, whole = k.constant(0.0), k.constant(1.0)

        def chosen(place: Place, count: int, given: ir.Value) -> ir.Value:
            there = k.load(x, offset(k, stage.input, place), count)
            return k.builder.select(k.builder.fcmp_ordered("==", there, extreme), given, zero)

        count_of = group.sum(lambda place, count: chosen(place, count, whole))
        slope = k.builder.fdiv(of_group(behind, group), count_of)

        def store(place: Place, count: int) -> None:
            k.store(chosen(place, count, slope), result, offset(k, stage.input, place), count)

        group.values(store)

    one = to_the_extreme if _is_extreme(stage) else alike

    _groups(stage).each(k, one)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"reduce.forward": write_forward, "reduce.backward": write_backward},
    words=lambda stage: f"{_operation(stage).kind} along axes",
)
