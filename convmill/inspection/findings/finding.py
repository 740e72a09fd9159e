"""What a rule is given and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from convmill.design.costs import Cost
from convmill.design.fields import Field, local_fields
from convmill.design.places import last_maps
from convmill.design.steps import Design, Step
from convmill.inspection.numbers import count

MNIST_IMAGES = 60_000
MNIST_SIZE = (28, 28)


@dataclass(frozen=True)
class CrossEntropy:
    """A cross-entropy: over classes (one-hot or index labels) or of yes and no.

    ``alpha`` and ``gamma`` are those of a focal loss (Lin, Goyal, Girshick, He and Dollar, Focal
    Loss for Dense Object Detection, 2017, equation 5); without them it is the plain one.
    """

    kind: Literal["categorical", "binary"]
    from_logits: bool
    alpha: float = 1.0
    gamma: float = 0.0

    def of(self, probability: float) -> float:
        """The loss, in nats, where the right answer is given this probability."""
        return -self.alpha * (1 - probability) ** self.gamma * math.log(probability)


@dataclass(frozen=True)
class Facts:
    """What is known of a design before it is trained.

    ``fields`` and ``costs`` are by step, ``images`` counts the training images and is None
    where that is not known, ``lanes`` the float32 values of one of this machine's vectors.
    ``compiled`` says whether the model was given a loss; ``loss`` is None where it was not or
    where that is no single cross-entropy.
    """

    design: Design
    fields: Mapping[str, Mapping[str, Field]]
    costs: Mapping[str, Cost]
    images: int | None
    lanes: int
    compiled: bool = False
    loss: CrossEntropy | None = None

    @cached_property
    def last_maps(self) -> tuple[Step, ...]:
        """The last feature map of each tower; a design that comes to a dead end has none."""
        return () if self.design.dead_end is not None else last_maps(self.design)

    @cached_property
    def local_fields(self) -> Mapping[str, Mapping[str, Field]]:
        """The fields along the paths that keep places, by step."""
        return local_fields(self.design)

    def source(self, step: Step) -> Step:
        """The step whose output ``step`` reads first."""
        return self.design.step(step.inputs[0])

    def follow(self, step: Step, passes: Callable[[Step], bool]) -> Step:
        """``step``, or the last of those behind it of which each is the sole reader of the one
        before, and ``passes``."""
        reader = self.design.sole_reader(step)
        while reader is not None and passes(reader):
            step, reader = reader, self.design.sole_reader(reader)
        return step

    def behind(self, step: Step) -> list[Step]:
        """All steps whose values depend on those of ``step``."""
        found = {step.name: step}
        for later in self.design.steps:
            if any(name in found for name in later.inputs):
                found[later.name] = later
        return list(found.values())[1:]

    def before(self, step: Step) -> list[Step]:
        """All steps on whose values those of ``step`` depend, the nearest first."""
        found, needed = [], set(step.inputs)
        for earlier in reversed(self.design.steps):
            if earlier.name in needed:
                found.append(earlier)
                needed |= set(earlier.inputs)
        return found


def images_in_words(images: int) -> str:
    """How many training images, for a sentence."""
    mnist = " (MNIST's number)" if images == MNIST_IMAGES else ""
    return f"{count(images)} training images{mnist}"


@dataclass(frozen=True)
class Finding:
    """One thing about a design that is worth a thought.

    Attributes:
        rule: name of the rule that says it.
        layer: name of the step that it is about; None for the whole model.
        number: the figure, in ``unit``.
        what: one sentence that begins with the figure.
        why: why it matters.
        remedy: what to try.
        threshold: when the rule speaks.
        source: where the reasoning, or the threshold, comes from.
    """

    layer: str | None
    number: float
    unit: str
    what: str
    why: str
    remedy: str
    threshold: str
    source: str
    rule: str = ""


Rule = Callable[[Facts], Iterator[Finding]]
