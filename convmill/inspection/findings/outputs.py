"""Rules on what the last layer gives and what the loss takes it for.

Probabilities or logits, and one of several classes or yes and no for each: Goodfellow, Bengio and
Courville, Deep Learning, 2016, section 6.2.2. Figures are in nats, as Keras gives losses. These
rules have no threshold: they speak of contradictions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from convmill.design.steps import Step
from convmill.inspection.findings.finding import CrossEntropy, Facts, Finding
from convmill.plan.reads import Unknown

EPSILON = 1e-7  # Keras clips probabilities to [EPSILON, 1 - EPSILON]
SOURCE = "Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.2.2"
CONTRADICTION = "a contradiction: no threshold"
NEVER_FAR_BELOW_ZERO = ("relu", "relu6", "elu", "selu", "gelu", "silu")
NO_PROBABILITIES = (*NEVER_FAR_BELOW_ZERO, "leaky_relu", "tanh", "softsign", "log_softmax")
PROBABILITIES = {"categorical": "softmax", "binary": "sigmoid"}
LINEAR_LAYERS = ("Conv2D", "Dense")


def output_activation(facts: Facts) -> tuple[Step, str] | None:
    """The step that the model hands out and the activation that made its values.

    Flatten, dropout and average pooling leave an activation's range as it is. None where there are
    several outputs, or where the last layer is not one of which we know.
    """
    if len(facts.design.outputs) != 1:
        return None
    last = step = facts.design.step(facts.design.outputs[0])
    while _keeps_range(step):
        step = facts.source(step)
    if step.kind == "activation" and not isinstance(step.reads, Unknown):
        return (last, step.activation) if step.activation != "linear" else None
    return (last, step.activation) if step.layer in LINEAR_LAYERS else None


def _judged(facts: Facts) -> tuple[Step, str, CrossEntropy] | None:
    """The model's end, the activation that made its values, and the loss that judges them.

    None where one of them is not known, or where one unit is to tell classes apart: that is a
    contradiction of its own.
    """
    end, loss = output_activation(facts), facts.loss
    if end is None or loss is None or (loss.kind == "categorical" and end[0].shape[-1] == 1):
        return None
    return (*end, loss)


def _keeps_range(step: Step) -> bool:
    return step.is_identity or step.pool == "average" or step.kind in ("dropout", "shape")


def _contradiction(
    step: Step, number: float, unit: str, *, what: str, why: str, remedy: str
) -> Finding:
    return Finding(step.name, number, unit, what, why, remedy, CONTRADICTION, SOURCE)


def logits_twice(facts: Facts) -> Iterator[Finding]:
    """Softmax (or sigmoid) at the end and a loss with from_logits=True, which applies it again.

    The least loss that is left: of softmax over k classes ``ln(1 + (k - 1) / e)``, of a sigmoid
    ``ln 2`` where the answer is no. Goodfellow et al., 2016, section 6.2.2.
    """
    judged = _judged(facts)
    if judged is None or not judged[2].from_logits or judged[1] != PROBABILITIES[judged[2].kind]:
        return
    step, activation, loss = judged
    if loss.kind == "categorical":
        least = loss.of(math.e / (math.e + step.shape[-1] - 1))
        left = f"the least loss that {step.shape[-1]} classes can reach"
    else:
        least = loss.of(0.5)
        left = "the least loss that an answer of no can reach"
    yield _contradiction(
        step,
        least,
        "nats",
        what=f"{least:.3f} is {left}: {step.name} ends in {activation}, and from_logits=True "
        "applies it again.",
        why=f"Probabilities from 0 to 1, taken for logits, come out of the second {activation} "
        "nearly alike; gradients shrink and sure answers cannot be said. (On TensorFlow Keras "
        "notices, warns and undoes it.)",
        remedy=f"Leave out from_logits=True, or the {activation}.",
    )


def _clipped(loss: CrossEntropy) -> str:
    """The loss of a right answer that is clipped; Keras weighs a binary focal loss before that."""
    more = " or more" if loss.kind == "binary" and loss.gamma else ""
    return f"{loss.of(EPSILON):.1f}{more}"


def raw_output(facts: Facts) -> Iterator[Finding]:
    """A linear output under a cross-entropy that takes it for probabilities.

    Keras clips what it takes for a probability at 1e-7: a value below costs ``-ln 1e-7`` and has
    no gradient. Goodfellow et al., 2016, section 6.2.2.
    """
    judged = _judged(facts)
    if judged is None or judged[2].from_logits or judged[1] != "linear":
        return
    step, _, loss = judged
    activation = PROBABILITIES[loss.kind]
    yield _contradiction(
        step,
        loss.of(EPSILON),
        "nats",
        what=f"{_clipped(loss)} is the loss, without a gradient, wherever what {step.name} "
        "gives the right answer has to be clipped: it is linear, and the loss takes it for "
        "probabilities.",
        why="Keras clips what is not positive at 1e-7, so the images that are most wrong teach "
        "nothing.",
        remedy=f'End with activation="{activation}", or give the loss from_logits=True.',
    )


def clipped_output(facts: Facts) -> Iterator[Finding]:
    """relu or its kin, tanh or log_softmax at the end, under a cross-entropy that takes it for
    probabilities: what is not positive is clipped at 1e-7. Goodfellow et al., 2016, section 6.2.2.

    A categorical loss divides by the sum first. Logarithms of probabilities are all negative and
    come out positive and the wrong way round: the surest answer as the least likely.
    """
    judged = _judged(facts)
    if judged is None or judged[2].from_logits or judged[1] not in NO_PROBABILITIES:
        return
    step, activation, loss = judged
    what = f"without a gradient, wherever what {step.name} gives the right answer has to be clipped"
    why = "some are not positive, which Keras clips at 1e-7, so the images that are most wrong"
    if activation == "log_softmax" and loss.kind == "categorical":
        what = f"wherever {step.name} is right and sure: its answer is 0, the logarithm of 1"
        why = "Keras divides its logarithms by their sum, so the images that are least wrong"
    yield _contradiction(
        step,
        loss.of(EPSILON),
        "nats",
        what=f"{_clipped(loss)} is the loss, {what}.",
        why=f"{activation} gives no probabilities: {why} teach nothing.",
        remedy=f'End with activation="{PROBABILITIES[loss.kind]}".',
    )


def one_sided_logits(facts: Facts) -> Iterator[Finding]:
    """relu or its kin at the end, under a cross-entropy of logits: none can be far below zero.

    Goodfellow et al., 2016, section 6.2.2.
    """
    judged = _judged(facts)
    if judged is None or not judged[2].from_logits or judged[1] not in NEVER_FAR_BELOW_ZERO:
        return
    step, activation, _ = judged
    yield _contradiction(
        step,
        0.0,
        "the least logit, or near it",
        what=f"0, or little less, is the least logit that {activation} lets {step.name} give.",
        why="A logit has to be as far below zero as an answer is unlikely, and what relu turns "
        "off has no gradient.",
        remedy=f"Leave {activation} out: logits are linear.",
    )


def softmax_of_one(facts: Facts) -> Iterator[Finding]:
    """Softmax over one value, ``e^x / e^x``: always 1. Goodfellow et al., 2016, section 6.2.2."""
    for step in facts.design.steps:
        known = not isinstance(step.reads, Unknown) or step.kind != "activation"
        if step.activation == "softmax" and step.shape[-1:] == (1,) and known:
            yield _contradiction(
                step,
                1.0,
                "the only value",
                what=f"1.0 is all that {step.name} ever says: softmax over one unit.",
                why="It does not depend on the image, so nothing before it has a gradient.",
                remedy='Use activation="sigmoid" with binary_crossentropy, or two units.',
            )


def one_unit_of_several_classes(facts: Facts) -> Iterator[Finding]:
    """One unit, no softmax, under a categorical cross-entropy: among one class it is always right.

    Keras divides the value by its sum, which is itself, or takes the softmax of it: 1, whatever it
    was. Goodfellow et al., 2016, section 6.2.2.
    """
    end, loss = output_activation(facts), facts.loss
    if end is None or loss is None or loss.kind != "categorical" or end[1] == "softmax":
        return
    step = end[0]
    if step.shape[-1] == 1:
        yield _contradiction(
            step,
            0.0,
            "nats",
            what=f"0, or 1e-7 for want of digits, is the loss whatever {step.name} says: it has "
            "one unit, and a categorical loss asks which of several classes.",
            why="The value is divided by itself, or softmax is taken of it alone, so it comes out "
            "as 1 and nothing before it has a gradient.",
            remedy='Use activation="sigmoid" with binary_crossentropy, or a unit for each class.',
        )


def loose_sigmoids(facts: Facts) -> Iterator[Finding]:
    """Several sigmoids under a categorical cross-entropy: each is a probability of its own.

    Keras divides them by their sum, and so does not see how large they are: all of them near 0 cost
    no more than all near 1. Goodfellow et al., 2016, section 6.2.2.
    """
    judged = _judged(facts)
    if judged is None or judged[2].kind != "categorical" or judged[1] != "sigmoid":
        return
    step, _, loss = judged
    units = step.shape[-1]
    logits = "as logits, of which none may leave 0 to 1" if loss.from_logits else "by their sum"
    yield _contradiction(
        step,
        units,
        "sigmoids",
        what=f"{units} sigmoids in {step.name} answer {units} separate questions, and a "
        "categorical loss asks one: which class.",
        why=f"They need not add up to 1. Keras takes them {logits}, so that the loss does not "
        "make of them what they look like: a probability for each class.",
        remedy='Use activation="softmax", or binary_crossentropy where an image may belong '
        "to several classes.",
    )


def softmax_as_yes_or_no(facts: Facts) -> Iterator[Finding]:
    """Softmax over more than two classes under binary cross-entropy.

    Each class becomes a question of its own, most of them answered by no: a guess of 1/k has a
    loss of ``ln(k)/k + (k-1)/k ln(k/(k-1))``, not ``ln k``. (With two classes both are the same.)
    Goodfellow et al., 2016, section 6.2.2.
    """
    judged = _judged(facts)
    if judged is None or judged[2].kind != "binary" or judged[1] != "softmax":
        return
    step, _, loss = judged
    units = step.shape[-1]
    if units > 2:
        guess = (loss.of(1 / units) + (units - 1) * loss.of(1 - 1 / units)) / units
        yield _contradiction(
            step,
            guess,
            "nats",
            what=f"{guess:.3f} is the loss of guessing among the {units} classes of {step.name}, "
            f"where categorical cross-entropy says {math.log(units):.3f}.",
            why=f"binary_crossentropy asks {units} times yes or no and takes the mean: "
            f"{units - 1} of {units} answers are no, so the loss looks good early, and the right "
            "class counts for little.",
            remedy="Use categorical_crossentropy (sparse_categorical_crossentropy for labels that "
            "are indices).",
        )
