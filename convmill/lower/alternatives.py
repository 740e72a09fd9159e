"""What could have been chosen instead: other algorithms and tiles of each stage, to be measured.

    [conv 3x3, 32 -> 64]  =>  forward: Winograd 4x4, Winograd 2x2, 12 places x 2, 6 places x 4

A stage has parts that are computed one apart from the other; each has its alternatives, first of
all what ``choose.py`` has chosen. Any combination of them computes the stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from convmill.lower.choose import (
    Limits,
    choose,
    forward_tiles,
    gathered_tile,
    is_narrow,
    live_chunk,
    narrow_tile,
    outer_tile,
    panel_rows,
    placed_chunk,
)
from convmill.lower.machine import Machine
from convmill.lower.network import Gradients
from convmill.lower.register_tiles import evenly
from convmill.lower.stages import ConvolutionStage, DenseStage, DepthwiseStage, Stage
from convmill.lower.winograd import back_tiles, weights_tiles
from convmill.lower.winograd import forward_tiles as winograd_tiles

COLUMNS = (4, 6, 8, 12)  # of a depthwise convolution, at most
MOST_DIRECT = 3  # tiles of a direct convolution, of different numbers of vectors


@dataclass(frozen=True)
class Modelled:
    """Stages as ``choose.py`` chooses them, without measuring, what is wanted of each, and the
    machine: what was to be decided."""

    stages: tuple[Stage, ...]
    wanted: tuple[Gradients, ...]
    machine: Machine

    @classmethod
    def of(cls, stages: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine) -> Modelled:
        """Stages that nothing was chosen for yet, with what the model of cycles chooses."""
        return cls(tuple(choose(stages, wanted, machine)), tuple(wanted), machine)


@dataclass(frozen=True)
class Part:
    """One field of the choice of stage number ``stage``, and what it may hold, the present value
    first. ``kernels`` is how the names of the launches end that it decides of; empty for all."""

    stage: int
    field: str
    kernels: tuple[str, ...]
    values: tuple[Any, ...]


def parts(modelled: Modelled) -> list[Part]:
    """The parts of stages that could be computed otherwise."""
    limits = Limits.of(modelled.stages)
    found = []
    for number, (stage, gradients) in enumerate(zip(modelled.stages, modelled.wanted, strict=True)):
        for field, kernels, values in _of_stage(stage, gradients, modelled.machine, limits):
            present = getattr(stage.choice, field)  # type: ignore[union-attr]
            distinct = tuple(dict.fromkeys((present, *values)))
            if len(distinct) > 1:
                found.append(Part(number, field, kernels, distinct))
    return found


def with_values(stages: Sequence[Stage], values: Mapping[tuple[int, str], Any]) -> list[Stage]:
    """The stages, with other values in fields of their choices, by the stage's number and the
    field's name."""
    result = list(stages)
    for (number, field), value in values.items():
        stage: Any = result[number]
        result[number] = replace(stage, choice=replace(stage.choice, **{field: value}))
    return result


# Of a choice: its name, its launches, other values.
Field = tuple[str, tuple[str, ...], Iterable[Any]]


def _of_stage(stage: Stage, wanted: Gradients, machine: Machine, limits: Limits) -> Iterator[Field]:
    match stage:
        case ConvolutionStage():
            most = limits.outputs(stage)
            yield "forward", (".forward",), _forward(stage, machine, most)
            if wanted.input and not stage.pooled:  # there most places are dead
                yield "input_gradient", (".input_gradient",), _back(stage, machine, most)
            if wanted.weights:
                found = _weights(stage, wanted, machine, most, limits.images)
                yield "weight_gradient", (".weight_gradient", "biases.gradient"), found
        case DepthwiseStage():
            columns = (evenly(stage.output.width, most) for most in COLUMNS)
            fit = machine.registers - min(stage.taps, machine.registers // 2) - 2
            yield "columns", (), (count for count in columns if count <= fit)
        case DenseStage():
            yield "panel", (), (None, panel_rows(stage, machine))


def _forward(stage: ConvolutionStage, machine: Machine, most: int) -> Iterator[Any]:
    yield from _each_filtering(winograd_tiles(stage, machine, most))
    for *_, tile in sorted(forward_tiles(stage, machine), key=lambda one: one[:-1])[:MOST_DIRECT]:
        yield tile


def _back(stage: ConvolutionStage, machine: Machine, most: int) -> Iterator[Any]:
    yield from _each_filtering(back_tiles(stage, machine, most))
    if stage.groups == 1:
        yield gathered_tile(stage, machine)
        yield placed_chunk(stage, machine)
    yield live_chunk(stage, machine)


def _weights(
    stage: ConvolutionStage, wanted: Gradients, machine: Machine, most: int, images: int
) -> Iterator[Any]:
    if not wanted.input and is_narrow(stage):
        yield narrow_tile(stage, machine)
    yield from _each_filtering(weights_tiles(stage, machine, most, images))
    if stage.groups == 1 and not stage.pooled:
        yield outer_tile(stage, machine)
    yield live_chunk(stage, machine)


def _each_filtering(tiles: Iterable[tuple[float, Winograd | WinogradWeights]]) -> Iterator[Any]:
    """Of each of Winograd's filterings the tile of fewest modelled cycles."""
    best: dict[Any, tuple[float, Any]] = {}
    for cycles, tile in tiles:
        known = best.get(tile.filtering)
        if known is None or cycles < known[0]:
            best[tile.filtering] = cycles, tile
    for _, tile in best.values():
        yield tile


def words(value: Any) -> str:
    """A value of a part, for people."""
    match value:
        case Winograd() | WinogradWeights():
            return str(value.filtering)
        case Direct():
            return f"direct, {value.rows * value.windows} places x {value.vectors}"
        case Gathered() | Outer():
            return "all places"
        case Live():
            return "live places"
        case Placed():
            return "live filters of each place"
        case Narrow():
            return "filters in the lanes"
        case None:
            return "by groups of images"
    return str(value)
