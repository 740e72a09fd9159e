"""What a rule is given and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from convmill.inspection.numbers import count
from convmill.plan.costs import Cost
from convmill.plan.fields import Field
from convmill.plan.outline import Outline, Step, Whole

MNIST_IMAGES = 60_000
# Kinds of steps that work on each value, or each channel, alone.
ELEMENTWISE = ("activation", "dropout", "normalization")


@dataclass(frozen=True)
class Loss:
    """A cross-entropy: over classes (one-hot or index labels) or of yes and no."""

    kind: Literal["categorical", "binary"]
    from_logits: bool


@dataclass(frozen=True)
class Facts:
    """What is known of a design before it is trained.

    ``fields`` and ``costs`` are by step, ``images`` counts the training images, ``lanes`` the
    float32 values of one of this machine's vectors. ``compiled`` says whether the model was given
    a loss; ``loss`` is None where it was not or where that is no single cross-entropy.
    """

    outline: Outline
    fields: Mapping[str, Mapping[str, Field]]
    costs: Mapping[str, Cost]
    images: int
    lanes: int
    compiled: bool = False
    loss: Loss | None = None

    @property
    def last_features(self) -> Step | None:
        """The last step that computes a feature map from places of another; None without one.

        Steps that work on each value alone, and global pooling, belong to the map before them.
        """
        for step in reversed(self.outline.steps):
            alone = step.kind in ELEMENTWISE or step.kind == "input"
            if step.is_map and not alone and not isinstance(step.reads, Whole):
                return step
        return None

    def source(self, step: Step) -> Step:
        """The step whose output ``step`` reads first."""
        return self.outline.step(step.inputs[0])

    def sole_reader(self, step: Step) -> Step | None:
        """The step that reads ``step``, where it is the only one and the model does not
        hand ``step`` out as well."""
        readers = self.outline.readers(step.name)
        return readers[0] if len(readers) == 1 and step.name not in self.outline.outputs else None

    @property
    def images_in_words(self) -> str:
        """How many training images, for a sentence."""
        mnist = " (MNIST's number)" if self.images == MNIST_IMAGES else ""
        return f"{count(self.images)} training images{mnist}"


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
