"""Receptive fields: which pixels of each input a unit can see, for any graph.

The local field leaves out what reaches a map without its places: gates that global pooling computes
for whole channels (squeeze and excitation: Hu, Shen and Sun, 2018), and statistics over all places.
Through them a unit depends on the whole image, by the same factors as every other unit.

Two figures of one thing. The theoretical field (size, jump, start) ignores the image's borders, by
the recurrences of Araujo, Norris and Sim, "Computing receptive fields of convolutional neural
networks" (Distill, 2019). The spans are exact: the first and last pixel that each row and each
column of units sees inside the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray

from convmill.design.places import places
from convmill.design.steps import Design, Step
from convmill.plan.graph.shapes import Shape
from convmill.plan.reads import Flat, Same, Spans, Whole, Windows
from convmill.plan.windows import Span

Ends = NDArray[np.int64]  # (places, 2): first and last pixel that each place sees
NOTHING = (1 << 40, -1)  # the first and last of no pixels


@dataclass(frozen=True, eq=False)
class AxisField:
    """What the units along one axis see of one axis of the input.

    ``size`` is in pixels, borders ignored; inside the image where units are not evenly spaced.
    ``jump`` is the step in pixels from one unit's field to the next one's, ``start`` the first
    pixel of unit 0's field, negative where that is padding; both are None where units are not
    evenly spaced (behind upsampling, or where all see the same). ``length`` is the input's size
    along the axis.
    """

    size: int
    jump: int | None
    start: int | None
    length: int
    ends: Ends

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """First and last pixel, inclusive, that each unit sees inside the image; None: nothing."""
        return tuple((a, b) if a <= b else None for a, b in self.ends.tolist())

    @property
    def seen(self) -> int:
        """Pixels inside the image that the unit sees which sees most."""
        return max(int((self.ends[:, 1] - self.ends[:, 0]).max()) + 1, 0)


@dataclass(frozen=True)
class Field:
    """What units see of one input; ``known`` is False behind a layer that we do not know."""

    rows: AxisField
    columns: AxisField
    known: bool = True

    @property
    def share(self) -> float:
        """Share of the input's pixels inside the field of the unit that sees most."""
        rows, columns = self.rows, self.columns
        return rows.seen * columns.seen / (rows.length * columns.length)


Seen = dict[str, Field]  # by the name of the input


def fields(design: Design) -> dict[str, Seen]:
    """For each step, by name, the field of its units on each input of the model that they see."""
    return _followed(design, step_fields)


def local_fields(design: Design) -> dict[str, Seen]:
    """The same along the paths that keep places."""
    return _followed(design, local_step_fields)


def _followed(design: Design, through: Callable[[Step, list[Seen]], Seen]) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    for step in design.steps:
        if step.kind == "input":
            own = _own(step)
            found[step.name] = {step.name: replace(own, known=own.known and design.channels_last)}
        else:
            found[step.name] = through(step, [found[name] for name in step.inputs])
    return found


def step_fields(step: Step, inputs: list[Seen]) -> Seen:
    """The fields of a step, from those of what it reads."""
    names = dict.fromkeys(name for seen in inputs for name in seen)
    read = [
        {name: _of_shape(field, shape) for name, field in seen.items()}
        for seen, shape in zip(inputs, step.read, strict=True)
    ]
    return {
        name: reduce(_union, [_through(step, seen[name]) for seen in read if name in seen])
        for name in names
    }


def local_step_fields(step: Step, inputs: list[Seen]) -> Seen:
    """The local fields of a step: a map's places hide what one place brings to all of them."""
    if step.kind == "normalization" and places(step.shape) > 1 and isinstance(step.reads, Whole):
        step = replace(step, facts=replace(step.facts, reads=Same()))
    seen = step_fields(step, inputs)
    maps = [index for index, shape in enumerate(step.read) if places(shape) > 1]
    if step.kind != "merge" or not maps or len(maps) == len(inputs):
        return seen
    kept = replace(step, read=tuple(step.read[index] for index in maps))
    # an input of the model that reaches the map in no other way is still seen
    return {**seen, **step_fields(kept, [inputs[index] for index in maps])}


def _of_shape(field: Field, shape: Shape) -> Field:
    """The field of places of ``shape``; that of a layer with several outputs is of the first one,
    and what is known of another is that it sees no more."""
    places = (len(field.rows.ends), len(field.columns.ends))
    if len(shape) != 3 or places == shape[:2]:
        return field
    return _mapped(field, lambda axis, which: _all(axis, shape[which]))


def _own(step: Step) -> Field:
    """An input's pixels see themselves; a vector is one row, and more axes are not known."""
    rows, columns = (1, 1, *step.shape)[-2:] if len(step.shape) < 3 else step.shape[:2]
    return Field(_pixels(rows), _pixels(columns), known=len(step.shape) <= 3)


def _pixels(size: int) -> AxisField:
    return AxisField(1, 1, 0, size, np.repeat(np.arange(size)[:, np.newaxis], 2, axis=1))


def _through(step: Step, field: Field) -> Field:
    """The field of a step's units on an input, from that of the step that it reads."""
    # a vector has no places along rows and columns
    places: tuple[int | None, ...] = step.shape[:2] if step.is_map else (None, None)
    match step.reads:
        case Flat():
            return field
        case Same():
            return _mapped(field, lambda axis, which: _fit(axis, places[which]))
        case Windows() as windows:
            return _mapped(field, lambda axis, which: _windowed(axis, windows, which))
        case Spans(rows, columns):
            return _mapped(field, lambda axis, which: _spanned(axis, (rows, columns)[which]))
    seen = _mapped(field, lambda axis, which: _all(axis, places[which]))
    if isinstance(step.reads, Whole):
        return seen
    # whatever an unknown layer mixes, where all places see the same it stays the same
    return replace(seen, known=field.known and _is_one(field.rows) and _is_one(field.columns))


def _mapped(field: Field, change: Callable[[AxisField, int], AxisField]) -> Field:
    """The field with both axes changed; ``change`` takes an axis and which of the two it is."""
    return Field(change(field.rows, 0), change(field.columns, 1), field.known)


def _is_one(axis: AxisField) -> bool:
    return bool((axis.ends == axis.ends[0]).all())


def _fit(axis: AxisField, places: int | None) -> AxisField:
    """The same places; a single one is broadcast."""
    if places is None or len(axis.ends) == places:
        return axis
    return _all(axis, places)


def _all(axis: AxisField, places: int | None) -> AxisField:
    """Every place sees all that any of them saw."""
    first, last = int(axis.ends[:, 0].min()), int(axis.ends[:, 1].max())
    ends = np.tile(np.asarray([[first, last]], np.int64), (places or 1, 1))
    return AxisField(max(last - first + 1, 0), None, None, axis.length, ends)


def _windowed(axis: AxisField, windows: Windows, which: int) -> AxisField:
    size, stride = windows.size[which], windows.strides[which]
    dilation, before, after = windows.dilation[which], *windows.padding[2 * which :][:2]
    extent = windows.extent[which]
    count = (len(axis.ends) + before + after - extent) // stride + 1
    taps = np.arange(count)[:, np.newaxis] * stride - before + np.arange(size) * dilation
    inside = (taps >= 0) & (taps < len(axis.ends))
    ends = _hull(axis.ends[np.where(inside, taps, 0)], inside)
    if axis.jump is None or axis.start is None:
        return _uneven(axis, ends)
    return AxisField(
        size=axis.size + (extent - 1) * axis.jump,
        jump=axis.jump * stride,
        start=axis.start - before * axis.jump,
        length=axis.length,
        ends=ends,
    )


def _hull(ends: Ends, inside: NDArray[np.bool_]) -> Ends:
    """First and last pixel of what the taps (places, taps, 2) see; taps outside see nothing."""
    first = np.where(inside, ends[..., 0], NOTHING[0]).min(axis=1)
    last = np.where(inside, ends[..., 1], NOTHING[1]).max(axis=1)
    return np.stack([first, last], axis=1)


def _uneven(axis: AxisField, ends: Ends) -> AxisField:
    seen = max(int((ends[:, 1] - ends[:, 0]).max()) + 1, 0)
    return AxisField(seen, None, None, axis.length, ends)


def _spanned(axis: AxisField, spans: tuple[Span, ...]) -> AxisField:
    width = max((last - first + 1 for first, last in filter(None, spans)), default=1)
    first = np.asarray([span[0] if span else 0 for span in spans])
    taps = first[:, np.newaxis] + np.arange(width)
    last = np.asarray([span[1] if span else -1 for span in spans])
    inside = taps <= last[:, np.newaxis]
    return _uneven(axis, _hull(axis.ends[np.where(inside, taps, 0)], inside))


def _union(one: Field, other: Field) -> Field:
    """What units see that read both; a path that sees nothing but padding adds nothing."""
    for field, rest in ((one, other), (other, one)):
        if field.share == 0:
            return rest
    rows, columns = _joined(one.rows, other.rows), _joined(one.columns, other.columns)
    return Field(rows, columns, one.known and other.known)


def _joined(one: AxisField, other: AxisField) -> AxisField:
    if len(one.ends) != len(other.ends):  # vectors, whose units we do not tell apart
        one, other = _all(one, None), _all(other, None)
    first = np.minimum(one.ends[:, 0], other.ends[:, 0])
    last = np.maximum(one.ends[:, 1], other.ends[:, 1])
    ends = np.stack([first, last], axis=1)
    if one.jump is None or other.jump is None or one.jump != other.jump:
        return _uneven(one, ends)
    assert one.start is not None
    assert other.start is not None
    start = min(one.start, other.start)
    end = max(one.start + one.size, other.start + other.size)
    return AxisField(end - start, one.jump, start, one.length, ends)
