"""The loss of an image, added up over the places of an output, and how many of them are right.

an output of 10 classes            one place of 10 values
an output of 64 x 64 x 3 values    4,096 places of 3 values each
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convmill.kernels import ir, losses
from convmill.kernels.accuracy import right
from convmill.kernels.case import Case
from convmill.kernels.elementwise import pixels
from convmill.kernels.lang import F32, F64, I32, I64, Emitter, Index
from convmill.kernels.terms import TERMS
from convmill.lower.tensors import Tensor
from convmill.plan.recipe import Accuracy, Loss


@dataclass(frozen=True)
class Derived:
    """Where the gradient goes: to the values of ``tensor``, which begin at ``address``."""

    tensor: Tensor
    address: ir.Value
    past_softmax: bool


@dataclass(frozen=True)
class Image:
    """One image's loss being written: ``spec`` on the values of ``output``, with its ``labels``.

    ``weights`` has one weight, or one for each place where the bit ``weighted_places`` is set; the
    gradient is scaled by ``scale`` as well, a scalar. ``room`` is what ``losses.scratch`` asks for.
    """

    e: Emitter
    spec: Loss
    output: Tensor
    values: ir.Value
    labels: ir.Value
    weights: ir.Value
    weighted_places: ir.Value
    scale: ir.Value
    derived: Derived | None
    room: ir.Value


Body = Callable[[Case, ir.Value], None]  # a case, and the weight of its places


def loss(image: Image) -> ir.Value:
    """Sum over places of weight x loss; gradients are stored where they are wanted."""
    e, b = image.e, image.e.builder
    # Many small numbers: in double precision, so that the sum is as good as each of them.
    total = e.variable(ir.Constant(F64, 0.0))

    def add(case: Case, weight: ir.Value) -> None:
        term = b.fmul(losses.loss(case), weight)
        e.set(total, b.fadd(e.get(total), b.fpext(term, F64)))

    if image.output.places > 1 and image.spec.name in TERMS:
        with e.when(image.weighted_places):
            _each_place(image, add)
        with e.when(b.not_(image.weighted_places)):
            _each_row(image, add)
    else:
        _each_place(image, add)
    return b.fptrunc(e.get(total), F32)


def accuracy(image: Image, kind: Accuracy) -> ir.Value:
    """The share of places that are right, of values for the binary one."""
    e, b = image.e, image.e.builder
    total = e.variable(ir.Constant(F32, 0.0))

    def add(case: Case, _: ir.Value) -> None:
        e.set(total, b.fadd(e.get(total), right(case, kind)))

    if kind == "binary":
        _each_row(image, add)
        count = image.output.values
    else:
        _each_place(image, add)
        count = image.output.places
    return b.fdiv(e.get(total), ir.Constant(F32, float(count)))


def _each_place(image: Image, body: Body) -> None:
    """``body`` for every place, with its own weight or that of the image."""
    e, output = image.e, image.output
    goal = image.derived.tensor if image.derived is not None else output
    one = ir.Constant(I64, 1)
    place = e.variable(ir.Constant(I64, 0))

    def at(a: Index, b: Index) -> None:
        number: Index = 0 if output.places == 1 else e.get(place)
        own = 0 if output.places == 1 else e.mul(number, _as_index(e, image.weighted_places))
        weight = e.load_scalar(image.weights, own)
        body(_case(image, output.channels, number, a, b, weight), weight)
        if output.places > 1:
            e.set(place, e.builder.add(e.index(number), one))

    pixels(e, output, goal, at)


def _each_row(image: Image, body: Body) -> None:
    """``body`` for every row of places together, with the weight of the image."""
    e, output = image.e, image.output
    goal = image.derived.tensor if image.derived is not None else output
    weight = e.load_scalar(image.weights, 0)
    with e.loop(0, output.height) as row:
        a = e.add(output.origin, e.mul(row, output.row))
        b = e.add(goal.origin, e.mul(row, goal.row))
        first = e.mul(row, output.width)
        body(_case(image, output.width * output.channels, first, a, b, weight), weight)


def _case(
    image: Image, length: int, place: Index, at: Index, goal_at: Index, weight: ir.Value
) -> Case:
    """Values from ``at`` on, which are those of places from ``place`` on."""
    e, derived = image.e, image.derived
    if image.spec.sparse:
        labels = e.at(image.labels, place, I32)
    else:
        labels = e.at(image.labels, e.mul(place, image.output.channels))
    return Case(
        e,
        image.spec,
        image.output.channels,
        length,
        e.at(image.values, at),
        labels,
        e.broadcast(e.builder.fmul(weight, image.scale)),
        None if derived is None else e.at(derived.address, goal_at),
        derived is not None and derived.past_softmax,
        image.room,
    )


def _as_index(e: Emitter, bit: ir.Value) -> ir.Value:
    return e.builder.zext(bit, I64)
