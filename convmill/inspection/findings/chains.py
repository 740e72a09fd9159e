"""Rules on layers that follow one another."""

from __future__ import annotations

import math
from collections.abc import Iterator

from convmill.design.steps import Step
from convmill.inspection.findings.finding import Facts, Finding
from convmill.inspection.numbers import count, listed, plural
from convmill.plan.reads import Unknown, Windows

# BatchNormalization keeps two statistics of each channel, and may have a scale and a shift.
NORMALIZATION_WEIGHTS = (2, 3, 4)


def linear_pair(facts: Facts) -> Iterator[Finding]:
    """A convolution or dense layer behind another one, with nothing nonlinear between them.

    Such layers compute together what one linear layer can (Goodfellow, Bengio and Courville, Deep
    Learning, 2016, section 6.1). There is no threshold, but three designs are meant so and are left
    alone: a bottleneck, narrower than what it reads and what reads it (Sandler et al., 2018,
    MobileNetV2), a depthwise convolution before a pointwise one or behind it (Chollet, 2017,
    Xception), and a kernel cut into a column and a row (Szegedy et al., 2016, section 3.2).
    """
    for first in facts.design.steps:
        second = _linear_reader(facts, first)
        if second is None or second.shared_with or _is_meant(facts, first, second):
            continue
        parameters = first.parameters + second.parameters
        yield Finding(
            layer=second.name,
            number=parameters,
            unit="parameters",
            what=f"{count(parameters)} parameters in {first.name} and {second.name} make one "
            "linear map: nothing between them is nonlinear.",
            why="Two linear layers in a row are one (convolutions one with a larger kernel, "
            "borders aside): the second adds nothing that one could not express.",
            remedy=f'Give {first.name} an activation, such as activation="relu", or merge the two.',
            threshold="any such pair; bottlenecks, depthwise convolutions and kernels cut into row "
            "and column left out",
            source="Goodfellow et al. 2016, Deep Learning, section 6.1; Sandler et al. 2018; "
            "Chollet 2017; Szegedy et al. 2016",
        )


def _linear_reader(facts: Facts, first: Step) -> Step | None:
    """The weighted step that reads ``first`` and nothing else does, all linear between them."""
    if not first.is_weighted or first.activation != "linear":
        return None
    reader = facts.design.sole_reader(facts.follow(first, _is_linear))
    return reader if reader is not None and reader.is_weighted else None


def _is_linear(step: Step) -> bool:
    """Whether a step without weights of its own, or BatchNormalization, is linear once trained."""
    return (
        step.is_identity
        or step.layer in ("BatchNormalization", "Rescaling")
        or step.kind == "dropout"
        or (step.kind == "shape" and not _makes_map(step))
        or step.pool == "average"
    )


def _makes_map(step: Step) -> bool:
    """Whether the step makes a map of a vector: what reads it shares weights between places, which
    no dense layer does."""
    return step.is_map and len(step.read[0]) != len(step.shape)


def _is_meant(facts: Facts, first: Step, second: Step) -> bool:
    """Whether the two cut one map into cheaper parts: a bottleneck, depth and channels, or a row
    and a column."""
    if "DepthwiseConv2D" in (first.layer, second.layer) or _is_row_and_column(first, second):
        return True
    read, written = math.prod(first.read[0]), math.prod(first.shape)
    narrows = written < read or (written == read and _is_projection(facts, first))
    return narrows and written < math.prod(second.shape)


def _is_row_and_column(first: Step, second: Step) -> bool:
    if not isinstance(first.reads, Windows) or not isinstance(second.reads, Windows):
        return False
    (rows, columns), (other_rows, other_columns) = first.reads.size, second.reads.size
    lines = {min(rows, columns), min(other_rows, other_columns)} == {1}
    return lines and ((rows > 1 and other_columns > 1) or (columns > 1 and other_rows > 1))


def _is_projection(facts: Facts, step: Step) -> bool:
    """Whether a 1x1 convolution mixes the channels of a depthwise one, gates and such between them
    (the linear bottleneck of MobileNets, as wide as what it reads where nothing was expanded)."""
    if not isinstance(step.reads, Windows) or step.reads.size != (1, 1):
        return False
    before = facts.source(step)
    while before.is_elementwise or before.kind == "merge":
        before = facts.source(before)
    return before.layer == "DepthwiseConv2D"


def bias_before_normalization(facts: Facts) -> Iterator[Finding]:
    """Biases whose layers go straight into BatchNormalization, which subtracts them again.

    Ioffe and Szegedy, Batch Normalization, 2015, section 3.2. The threshold is one bias. A frozen
    normalization subtracts a mean that does not follow the bias, and is left alone.
    """
    steps = [step for step in facts.design.steps if _loses_bias(facts, step)]
    biases = sum(step.shape[-1] for step in steps)
    names = [step.name for step in steps]
    if steps:
        yield Finding(
            layer=names[0] if len(names) == 1 else None,
            number=biases,
            unit="parameters",
            what=f"{plural(biases, 'parameter')} without effect: the bias of {listed(names)}, "
            "which BatchNormalization behind it subtracts with the mean of each channel.",
            why="It is stored, trained and added in vain; the normalization has a shift of its "
            "own.",
            remedy="Give such layers use_bias=False.",
            threshold="any bias",
            source="Ioffe and Szegedy 2015, Batch Normalization, section 3.2",
        )


def _loses_bias(facts: Facts, step: Step) -> bool:
    if not step.is_weighted or not step.bias or step.activation != "linear":
        return False
    if step.shared_with:  # told where it is first called
        return False
    reader = facts.design.sole_reader(step)
    if reader is None or reader.layer != "BatchNormalization" or not reader.trainable:
        return False
    # along channels; along another axis it has other numbers of weights
    return reader.parameters in [step.shape[-1] * each for each in NORMALIZATION_WEIGHTS]


def hidden_softmax(facts: Facts) -> Iterator[Finding]:
    """Softmax between two layers with weights, where it makes all values share a sum of 1.

    Softmax is for outputs, or for choosing between things inside a net (Goodfellow, Bengio and
    Courville, 2016, section 6.2.2.3), as in attention, which no layer with weights reads alone.
    There is no threshold.
    """
    for step in facts.design.steps:
        if step.activation != "softmax" or isinstance(step.reads, Unknown):
            continue
        end = facts.follow(step, lambda reader: reader.kind in ("dropout", "shape"))
        reader = facts.design.sole_reader(end)
        values = step.shape[-1]
        if reader is not None and reader.is_weighted and values > 1:
            yield Finding(
                layer=step.name,
                number=1 / values,
                unit="mean of the values",
                what=f"{1 / values:.3g} is what the {values} values of {step.name} are on "
                f"average, whatever the image: a softmax before {reader.name}.",
                why="Values that share a sum of 1 hold each other down: one large one leaves "
                "nothing to the others, nor a gradient.",
                remedy='Use activation="relu" inside the net and keep softmax for its end.',
                threshold="any such layer",
                source="Goodfellow et al. 2016, Deep Learning, section 6.2.2.3",
            )
