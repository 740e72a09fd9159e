"""One place whose loss is written: its outputs, its labels, and where its gradient goes.

A place is what lies along the last axis of a net's output: ``classes`` neighbours in memory. Labels
are float32, one for each output, or one int32 class index (sparse).
"""

from __future__ import annotations

from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.lang import I32, Emitter, Index
from convmill.plan.recipe import Loss


@dataclass(frozen=True)
class Case:
    """One place's loss being written: ``spec`` on ``classes`` outputs; labels lie at ``labels``;
    ``factor`` scales the gradient, which goes to ``goal`` where it is wanted; ``room`` holds what
    ``scratch`` asks for. A loss that goes value by value may take several places together, which
    have ``length`` outputs."""

    e: Emitter
    spec: Loss
    classes: int
    length: int
    outputs: ir.Value
    labels: ir.Value
    factor: ir.Value
    goal: ir.Value | None
    past_softmax: bool
    room: ir.Value


def label(case: Case, at: Index, count: int) -> ir.Value:
    """Labels of a vector of classes, smoothed."""
    e, b, spec, labels = case.e, case.e.builder, case.spec, case.labels
    if spec.sparse:
        same = b.icmp_signed("==", e.numbered(at), e.broadcast(e.load_scalar(labels, 0, I32)))
        return b.select(same, e.constant(1.0), e.constant(0.0))
    y = e.load(labels, at, count)
    if spec.label_smoothing:
        middle = 0.5 if spec.name.startswith("binary") else 1 / case.classes
        y = e.fma(
            y, e.constant(1 - spec.label_smoothing), e.constant(spec.label_smoothing * middle)
        )
    return y


def only(e: Emitter, term: ir.Value, count: int) -> ir.Value:
    """Zero the lanes that hold no class."""
    if count == e.lanes:
        return term
    return e.builder.select(e.mask(count), term, e.constant(0.0))
