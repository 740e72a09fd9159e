"""``convmill.inspect``: what a design implies before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from convmill import settings
from convmill.inspection import columns, numbers
from convmill.inspection.document import Document, Report, Section
from convmill.inspection.findings import Facts, Finding, find
from convmill.inspection.findings.finding import MNIST_IMAGES, MNIST_SIZE
from convmill.inspection.loss import read_loss
from convmill.inspection.plain import inspection_dict
from convmill.inspection.speed import predict
from convmill.plan.costs import Cost, costs, total
from convmill.plan.covered import refusal
from convmill.plan.describe import describe
from convmill.plan.fields import Field, fields
from convmill.plan.graph import DeadEnd, Shape
from convmill.plan.outline import Outline, Step
from convmill.runtime.host import machine
from convmill.whole import check_whole

# Figures of ``Inspection.total`` that are known whatever a layer computes.
KNOWN_OF_ANY_LAYER = ("parameters", "trainable", "output_bytes")


@dataclass(frozen=True)
class Path:
    """One of the branches that come together in a layer: its last layer, and what it sees of each
    input of the model."""

    source: str
    fields: Mapping[str, Field]


@dataclass(frozen=True)
class Row:
    """One layer: what it computes, what it costs for one image, and what its units see.

    ``fields`` is by input of the model, and so are ``local_fields``, along the paths that keep
    places (without gates from global pooling); ``paths`` is for layers that read several others.
    ``step_seconds`` is the predicted time in one step of training, None where there is none.
    """

    step: Step
    cost: Cost
    fields: Mapping[str, Field]
    paths: tuple[Path, ...] = ()
    step_seconds: float | None = None
    local_fields: Mapping[str, Field] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.step.name

    def knows(self, figure: str) -> bool:
        """Whether a figure of ``cost`` is known."""
        return self.cost.counted or figure in KNOWN_OF_ANY_LAYER


@dataclass(frozen=True, repr=False)
class Inspection(Report):
    """What ``inspect`` found. Prints as a table, and shows itself in notebooks.

    ``total`` sums the costs of one image, ``inputs`` are shapes of one image by name, ``images`` is
    the number of training images that the findings reckon with, None where it is not known.
    ``step_seconds`` is the predicted time of one training step of ``batch_size`` images on this
    machine, None where there is none; ``not_compiled`` says why where convmill does not compile the
    model. Figures of ``total`` that ``knows`` denies are the least that they can be.
    ``last_maps`` are the layers that compute the last feature map of each tower, or branch.
    """

    name: str
    rows: tuple[Row, ...]
    total: Cost
    findings: tuple[Finding, ...]
    inputs: Mapping[str, Shape]
    images: int | None
    batch_size: int
    step_seconds: float | None = None
    not_compiled: str = ""
    last_maps: tuple[Row, ...] = ()
    dead_end: DeadEnd | None = None

    def row(self, name: str) -> Row:
        """The layer called ``name``; KeyError, with the nearest names, where there is none."""
        rows = {row.name: row for row in self.rows}
        if name not in rows:
            near = get_close_matches(str(name), rows) or list(rows)
            raise KeyError(f"no layer {name!r} in {self.name!r}. Names: {', '.join(near)}")
        return rows[name]

    @property
    def last_features(self) -> Row | None:
        """The last of ``last_maps``; None without one."""
        return self.last_maps[-1] if self.last_maps else None

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Names of the layers whose arithmetic is not known."""
        return tuple(row.name for row in self.rows if not row.cost.counted)

    def knows(self, figure: str) -> bool:
        """Whether a figure of ``total`` is that of the whole model, not just the least it can be.

        It is not where shapes come to a dead end; nor are arithmetic and what is kept where a layer
        has some that is not known.
        """
        if self.dead_end is not None:
            return False
        return all(row.knows(figure) for row in self.rows)

    def document(self) -> Document:
        """What there is to say."""
        title = f"{self.name}: before training"
        section = Section(f"Findings: {len(self.findings) or 'none'}", self.findings)
        return Document(title, (columns.table(self.rows),), tuple(self._lines()), (section,))

    def dead_ends(self) -> tuple[str, ...]:
        """What stands in the way where the model cannot be built for this input; else nothing."""
        if self.dead_end is None:
            return ()
        end = self.dead_end
        return (f"{self.name} cannot be built at layer '{end.layer}': {end.reason.rstrip('.')}.",)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, with units in the keys, fit for JSON."""
        return inspection_dict(self)

    def _lines(self) -> list[str]:
        sums, told = self.total, self._told
        frozen = sums.parameters - sums.trainable
        held = sums.parameters - sum(row.cost.parameters for row in self.rows)
        lines = [
            f"Parameters: {told('parameters', '{:,}'.format)}"
            + (f", of which {frozen:,} are not trained" if frozen else "")
            + (f", {held:,} of them in no layer of the graph" if held else ""),
            f"Multiply-adds of an image: {told('forward')} forward, "
            f"{told('sparse_training')} in training{_spared(sums)}",
            f"Other operations of an image: {told('forward_operations')} forward ({columns.OTHER})",
            "Activations of an image, as float32: "
            f"{told('output_bytes', numbers.in_bytes)} computed, "
            f"{told('kept_bytes', numbers.in_bytes)} kept for the backward pass",
        ]
        lines += [f"Last feature map: {columns.map_in_words(row)}" for row in self.last_maps]
        if self.step_seconds:
            lines.append(
                f"Predicted for this machine: {numbers.seconds(self.step_seconds)} for a training "
                f"step of {numbers.plural(self.batch_size, 'image')}, "
                f"{numbers.count(self.batch_size / self.step_seconds)} images/s"
            )
        if self.not_compiled:
            lines.append(f"No time is predicted, as it is not compiled: {self.not_compiled}")
        return [*self.gaps(), *lines]

    def gaps(self) -> list[str]:
        """Why figures are not those of the whole model, where they are not."""
        said = []
        if self.dead_end is not None:
            said.append(
                f"Shapes end at {self.dead_end.layer}: all figures are of the part before it"
            )
        if self.uncounted:
            said.append(f"Not known, and so not counted: {', '.join(self.uncounted)}")
        return said

    def _told(self, figure: str, text: Callable[[float], str] = numbers.count) -> str:
        """A figure of ``total``, marked where it is not that of the whole model."""
        mark = "" if self.knows(figure) else numbers.AT_LEAST
        return mark + text(getattr(self.total, figure))


def _spared(sums: Cost) -> str:
    """What the zeros behind max pooling would add."""
    if sums.sparse_training == sums.training:
        return ""
    return f" ({numbers.count(sums.training)} if the zeros behind max pooling were computed)"


def inspect(
    model: Any,
    *,
    input_shape: Shape | None = None,
    images: int | None = None,
    batch_size: int = 64,
) -> Inspection:
    """Shapes, parameters, arithmetic, memory and receptive fields of every layer, and findings.

    Nothing is trained, and the model is not changed.

    Args:
        model: a Keras model, Sequential or functional; it need not be compiled.
        input_shape: shape of one image, (height, width, channels), where the model does not say.
        images: how many training images there will be; by default MNIST's number for images of
            MNIST's size, and not known for others.
        batch_size: images of one training step, for the predicted time.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: its layers or sizes cannot be known; a number that is not positive.
    """
    if images is not None:
        images = check_whole("images", images, 1)
    batch_size = check_whole("batch_size", batch_size, 1)
    outline = describe(model, input_shape)
    facts = _facts(model, outline, images)
    spent = facts.costs
    seconds, step_seconds, not_compiled = _predicted(outline, spent, batch_size)
    rows = tuple(_row(step, facts, seconds) for step in outline.steps)
    return Inspection(
        name=outline.name,
        rows=rows,
        total=total(outline, spent),
        findings=find(facts),
        inputs={name: outline.step(name).shape for name in outline.inputs},
        images=facts.images,
        batch_size=batch_size,
        step_seconds=step_seconds,
        not_compiled=not_compiled,
        last_maps=tuple(row for row in rows if any(row.step is one for one in facts.last_maps)),
        dead_end=outline.dead_end,
    )


def _facts(model: Any, outline: Outline, images: int | None) -> Facts:
    """What the findings go by."""
    return Facts(
        outline,
        fields(outline),
        costs(outline),
        images or _usual_images(outline),
        machine().lanes,
        compiled=bool(getattr(model, "compiled", False)),
        loss=read_loss(model),
    )


def _usual_images(outline: Outline) -> int | None:
    """MNIST's number of training images where what the model reads has the size of its images."""
    height, width = MNIST_SIZE
    shapes = [outline.step(name).shape for name in outline.inputs]
    like = (shape[:2] == MNIST_SIZE or shape == (height * width,) for shape in shapes)
    return MNIST_IMAGES if all(like) else None


def _predicted(
    outline: Outline, spent: Mapping[str, Cost], batch_size: int
) -> tuple[Mapping[str, float], float | None, str]:
    """Seconds of each layer and of a step; or none, and why the model is not compiled."""
    if outline.dead_end is not None:
        return {}, None, ""
    gap = refusal(outline.graph)
    if gap is not None:
        return {}, None, gap.reason
    each, whole = predict(outline, spent, batch_size, settings.threads())
    return each, whole, ""


def _row(step: Step, facts: Facts, seconds: Mapping[str, float]) -> Row:
    branches = step.inputs if len(step.inputs) > 1 else ()
    return Row(
        step,
        facts.costs[step.name],
        facts.fields[step.name],
        tuple(Path(name, facts.fields[name]) for name in branches),
        seconds.get(step.name) or None,
        facts.local_fields[step.name],
    )
