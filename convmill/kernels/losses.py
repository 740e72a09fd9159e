"""The table of losses: each returns the loss of a place, and stores its gradient where that is
wanted."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.case import Case, label, only
from convmill.kernels.entropies import categorical, focal
from convmill.kernels.lang import F32, Index
from convmill.kernels.similarities import categorical_hinge, cosine
from convmill.kernels.terms import SUMMED, TERMS, Term
from convmill.plan.recipe import Loss, LossName

# Those that look at all values along the last axis; ``terms.py`` has those that go value by value.
LOSSES: dict[LossName, Callable[[Case], ir.Value]] = {
    "categorical_crossentropy": categorical,
    "categorical_focal_crossentropy": focal,
    "sparse_categorical_crossentropy": categorical,
    "cosine_similarity": cosine,
    "categorical_hinge": categorical_hinge,
}
# Those of probabilities that add up to one, which a last softmax may leave to the loss.
OF_SHARES: tuple[LossName, ...] = (
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
)


def scratch(spec: Loss, classes: int) -> int:
    """Float32 elements that the loss of one place wants beside its arrays: the softmax of logits.
    They may be too many for the stack."""
    return classes if spec.from_logits and spec.name in LOSSES else 0


def loss(case: Case) -> ir.Value:
    """The loss of a place; its gradient is stored where that is wanted."""
    term = TERMS.get(case.spec.name)
    return LOSSES[case.spec.name](case) if term is None else elementwise(case, term)


def elementwise(case: Case, term: Term) -> ir.Value:
    """Mean or sum over the last axis of a term of each output, added up over the case's places."""
    e, b, goal = case.e, case.e.builder, case.goal
    each = 1.0 if case.spec.name in SUMMED else 1 / case.classes
    total = e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        loss, slope = term(e, case.spec, e.load(case.outputs, at, count), label(case, at, count))
        e.set(total, b.fadd(e.get(total), only(e, loss, count)))
        if goal is not None:
            e.store(b.fmul(b.fmul(slope, e.constant(each)), case.factor), goal, at, count)

    e.vectors(case.length, add)
    return b.fmul(e.reduce("fadd", e.get(total)), ir.Constant(F32, each))
