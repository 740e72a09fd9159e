"""What must hold between passes: a slip in one of them ends here, before a kernel is written.

Each check raises ``SpecError`` that names the stage or the launch. They look at data alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from convmill.lower.choices import (
    Direct,
    Gathered,
    Live,
    Narrow,
    Outer,
    Placed,
    Winograd,
    WinogradWeights,
)
from convmill.lower.launches import Images, Launch, Phase, Slot, Step
from convmill.lower.lifetimes import Memory, Place
from convmill.lower.lines import CACHE_LINE
from convmill.lower.machine import Machine
from convmill.lower.network import Gradients
from convmill.lower.stages import (
    ConvolutionStage,
    DepthwiseStage,
    Stage,
    TransposedStage,
    WeightedStage,
    WindowedStage,
)
from convmill.lower.tensors import Tensor
from convmill.plan.refusals import NotCovered


class SpecError(NotCovered):
    """A pass left what the next one cannot take: a fault of ours, not of the model. It is found
    while preparing, so that Keras still runs the model."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"our passes disagree about it ({fault})", "report this model")


def _hold(condition: object, message: str) -> None:
    if not condition:
        raise SpecError(message)


# Stages ------------------------------------------------------------------------------------------


def check_stages(stages: Sequence[Stage]) -> None:
    """Stages read what was written before them or comes from outside, write what nobody else
    writes, and no convolution reads outside its input."""
    written: set[int] = set()
    held: dict[int, type[Stage]] = {}
    made = {stage.output.buffer for stage in stages}
    for number, stage in enumerate(stages):
        name = f"stage {number}"
        _hold(stage.nodes, f"{name} computes no node")
        for tensor in stage.inputs:
            known = tensor.buffer in written or tensor.buffer not in made
            _hold(known, f"{name} reads buffer {tensor.buffer} before it is written")
        _hold(stage.output.buffer not in written, f"{name} writes what another stage writes")
        written.add(stage.output.buffer)
        if isinstance(stage, WeightedStage):
            alike = held.setdefault(stage.kernel, type(stage)) is type(stage)
            _hold(alike, f"{name} holds its kernel otherwise than another stage does")
        if isinstance(stage, WindowedStage):
            _check_windows(stage, name)


def _check_windows(stage: WindowedStage, name: str) -> None:
    """Every window lies inside the input and its border."""
    for axis, extent in enumerate(_extent(stage.input)):
        first = stage.input.halo[2 * axis] - stage.padding[2 * axis]
        if isinstance(stage, TransposedStage):
            after = stage.input.halo[2 * axis + 1] - stage.padding[2 * axis + 1]
            _hold(min(first, after) >= 0, f"{name} lacks a border along axis {axis}")
            both = min(stage.strides[axis], stage.dilation[axis]) > 1
            _hold(not both, f"{name} has strides and dilation along axis {axis}")
            continue
        reach = (stage.computed[axis] - 1) * stage.strides[axis] + 1
        reach += (stage.kernel_size[axis] - 1) * stage.dilation[axis] + max(first, 0)
        _hold(reach <= extent, f"{name} reads {reach} places of {extent} along axis {axis}")
        _hold(first >= 0, f"{name} lacks a border for its padding along axis {axis}")


def _extent(tensor: Tensor) -> tuple[int, int]:
    top, bottom, left, right = tensor.halo
    return top + tensor.height + bottom, left + tensor.width + right


def check_choices(stages: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine) -> None:
    """Every convolution has an algorithm for what is wanted, and its tile fits the registers."""
    for number, (stage, gradients) in enumerate(zip(stages, wanted, strict=True)):
        if isinstance(stage, DepthwiseStage):
            sums = None if stage.choice is None else stage.choice.sums
            _hold((sums is not None) == gradients.weights, f"stage {number} misses a gradient")
        if isinstance(stage, TransposedStage):
            back = stage.choice and (stage.choice.input_gradient, stage.choice.weight_gradient)
            has = back and tuple(map(bool, back))
            right = has == (gradients.input, gradients.weights)
            _hold(right, f"stage {number} misses a gradient")
        if not isinstance(stage, ConvolutionStage):
            continue
        name, choice = f"stage {number}", stage.choice
        _hold(choice is not None, f"{name} has no choice")
        assert choice is not None
        has = (choice.input_gradient is not None, choice.weight_gradient is not None)
        _hold(has == (gradients.input, gradients.weights), f"{name} misses a gradient")
        _hold(_registers(stage) <= machine.registers, f"{name}: too few registers for its tile")
        for tile, places in (
            (choice.forward, stage.computed),
            (choice.input_gradient, (stage.input.height, stage.input.width)),
            (choice.weight_gradient, (stage.output.height, stage.output.width)),
        ):
            if isinstance(tile, Winograd | WinogradWeights):
                plain = stage.strides == stage.dilation == (1, 1) and stage.groups == 1
                square = (tile.filtering.kernel,) * 2
                _hold(plain and stage.kernel_size == square, f"{name} has no plain square kernel")
                _hold(min(places) >= tile.filtering.outputs, f"{name} cannot be transformed")
        for tile in (choice.forward, choice.weight_gradient):
            if isinstance(tile, Direct | Narrow) and tile.taps > 1:
                fits = tile.taps * stage.output.channels <= machine.lanes and stage.groups == 1
                _hold(fits, f"{name} has no lanes for {tile.taps} taps of each filter")
                _hold(tile.taps <= stage.run_length, f"{name} has runs of fewer taps")
        if isinstance(choice.input_gradient, Placed):
            whole = stage.groups == 1 and not stage.pooled
            _hold(whole, f"{name} has groups or pools: its places have no filters of their own")
        if isinstance(choice.weight_gradient, Narrow):
            _hold(not gradients.input, f"{name} has no lists for the gradient of its input")


def _registers(stage: ConvolutionStage) -> int:
    """Vector registers that hold sums while a tile is computed, the most of all kernels."""
    assert stage.choice is not None
    forward, weights = stage.choice.forward, stage.choice.weight_gradient
    window = stage.pool[0] * stage.pool[1]
    used = [1]
    if isinstance(forward, Direct):
        used.append(forward.rows * forward.windows * forward.vectors * window)
    used += [
        tile.tiles * tile.vectors
        for tile in (forward, stage.choice.input_gradient)
        if isinstance(tile, Winograd)
    ]
    if isinstance(stage.choice.input_gradient, Gathered):
        used.append(stage.choice.input_gradient.places * stage.choice.input_gradient.vectors)
    if isinstance(weights, Outer):
        used.append(weights.filters * weights.rows * weights.vectors)
    if isinstance(weights, WinogradWeights):
        used.append(weights.filters_at_once * weights.vectors)
    if isinstance(weights, Narrow):
        used.append(weights.sums)
    used += [
        chunk.rows * chunk.vectors
        for chunk in (weights, stage.choice.input_gradient)
        if isinstance(chunk, Live | Placed)
    ]
    return max(used)


# Steps -------------------------------------------------------------------------------------------


def check_step(step: Step) -> None:
    """Launches read what was written before them, slots of one name are one slot, and no barrier is
    missing."""
    slots: dict[str, Slot] = {}
    written: set[str] = set()
    for launch in step.launches():
        name = f"{launch.kernel} of {launch.of}"
        for slot in launch.slots:
            known = slots.setdefault(slot.name, slot)
            _hold(known == slot, f"{name}: {slot.name} is {slot} here and {known} elsewhere")
        for slot in launch.reads:
            there = slot.home == "batch" or slot.name in written
            _hold(there, f"{name} reads {slot.name} before it is written")
        written |= {slot.name for slot in launch.writes}
    for phase in step.phases:
        _check_phase(phase)
    later = (launch for phase in step.batch for work in phase.works for launch in work)
    for launch in later:
        touches = any(slot.home == "image" for slot in launch.slots)
        _hold(not touches, f"{launch.kernel} of {launch.of} looks at images of one part alone")


def _check_phase(phase: Phase) -> None:
    """Works do not touch what another one writes, and all go over images or all over shares."""
    for work in phase.works:
        over = {launch.over for launch in work}
        alike = phase.over_images or len(over) == 1
        _hold(alike, f"{work[0].kernel} of {work[0].of}: one work over other shares")
        kinds = {isinstance(launch.over, Images) for launch in work}
        _hold(kinds == {phase.over_images}, f"{work[0].kernel}: images and shares in one phase")
    users: dict[str, set[int]] = {}
    for number, work in enumerate(phase.works):
        for launch in work:
            for slot in launch.slots:
                users.setdefault(slot.name, set()).add(number)
    written = {slot.name for work in phase.works for launch in work for slot in launch.writes}
    both = sorted(name for name in written if len(users[name]) > 1)
    _hold(not both, f"a barrier is missing: {', '.join(both)}")


def check_memory(step: Step, memory: Memory) -> None:
    """Every slot that an image or a slice has lies inside its home, aligned; those that one launch
    touches do not overlap."""
    for launch in step.launches():
        places = [(s.name, memory.places[s.name]) for s in launch.slots if s.home != "batch"]
        for name, place in places:
            end = place.offset + place.bytes
            inside = 0 <= place.offset <= end <= memory.sizes[place.home]
            _hold(inside and place.offset % CACHE_LINE == 0, f"{name} lies outside")
        for number, (name, place) in enumerate(places):
            for other, there in places[number + 1 :]:
                _hold(not _overlap(place, there), f"{_of(launch)}: {name} overlaps {other}")


def _of(launch: Launch) -> str:
    return f"{launch.kernel} of {launch.of}"


def _overlap(one: Place, other: Place) -> bool:
    return (
        one.home == other.home
        and one.offset < other.offset + other.bytes
        and other.offset < one.offset + one.bytes
    )
