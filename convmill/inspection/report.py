"""``convmill.inspect``: what a design implies before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from convmill import settings
from convmill.design.costs import Cost, costs, total
from convmill.design.fields import fields
from convmill.design.steps import Design, Step, design_of
from convmill.inspection import columns, numbers
from convmill.inspection.document import Document, Section
from convmill.inspection.faces import Report
from convmill.inspection.findings import Facts, Finding, find
from convmill.inspection.findings.finding import MNIST_IMAGES, MNIST_SIZE
from convmill.inspection.loss import read_loss
from convmill.inspection.plain import layer_dict, map_dict, sums_dict
from convmill.inspection.rows import Path, Row
from convmill.plan.covered import refusal
from convmill.plan.graph.nodes import DeadEnd
from convmill.plan.graph.shapes import Shape
from convmill.plan.refusals import NotCovered
from convmill.runtime.host import machine
from convmill.runtime.speed import predict
from convmill.train.compilation.read_recipe import read_training
from convmill.whole import check_whole


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
        return {
            "name": self.name,
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "training_images": self.images,
            "batch_size": self.batch_size,
            "step_seconds": self.step_seconds,
            "not_compiled": self.not_compiled or None,
            # None where it is not known of the whole model, and the least that it can be
            "totals": sums_dict(self.total, self.knows),
            "totals_at_least": sums_dict(self.total),
            "uncounted_layers": list(self.uncounted),
            "last_feature_maps": [map_dict(row) for row in self.last_maps],
            "layers": [layer_dict(row) for row in self.rows],
            "dead_end": None if self.dead_end is None else asdict(self.dead_end),
            "findings": [asdict(finding) for finding in self.findings],
        }

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
            *self._estimated(),
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

    def _estimated(self) -> list[str]:
        """What the multiply-adds of training leave out, where ``explain`` tells others."""
        if not any(row.cost.choice for row in self.rows):
            return []
        return [
            "The count in training is an estimate from the design; explain also counts what "
            "Winograd's algorithm spares and, after fit, what relu turned off"
        ]

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

    Returns:
        What prints as a table; counts are of one image, memory is in bytes, time in seconds.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: its layers or sizes cannot be known, ``input_shape`` is no shape of an image, or
            ``images`` or ``batch_size`` is no whole number above zero.
    """
    if images is not None:
        images = check_whole("images", images, 1)
    batch_size = check_whole("batch_size", batch_size, 1)
    design = design_of(model, input_shape)
    facts = _facts(model, design, images)
    spent = facts.costs
    not_compiled = "" if design.dead_end else _not_compiled(model, design)
    seconds: Mapping[str, float] = {}
    step_seconds = None
    if not (design.dead_end or not_compiled):
        seconds, step_seconds = predict(design, spent, batch_size, settings.threads())
    rows = tuple(_row(step, facts, seconds) for step in design.steps)
    return Inspection(
        name=model.name,
        rows=rows,
        total=total(design, spent),
        findings=find(facts),
        inputs={name: design.step(name).shape for name in design.inputs},
        images=facts.images,
        batch_size=batch_size,
        step_seconds=step_seconds,
        not_compiled=not_compiled,
        last_maps=tuple(row for row in rows if any(row.step is one for one in facts.last_maps)),
        dead_end=design.dead_end,
    )


def _facts(model: Any, design: Design, images: int | None) -> Facts:
    """What the findings go by."""
    return Facts(
        design,
        fields(design),
        costs(design, machine()),
        images or _usual_images(design),
        machine().lanes,
        compiled=bool(getattr(model, "compiled", False)),
        loss=read_loss(model),
    )


def _usual_images(design: Design) -> int | None:
    """MNIST's number of training images where what the model reads has the size of its images."""
    height, width = MNIST_SIZE
    shapes = [design.step(name).shape for name in design.inputs]
    like = (shape[:2] == MNIST_SIZE or shape == (height * width,) for shape in shapes)
    return MNIST_IMAGES if all(like) else None


def _not_compiled(model: Any, design: Design) -> str:
    """Why ``fit`` would not be compiled; nothing where it would be, or where a model of its layers
    has no loss yet."""
    gap = refusal(design.graph)
    if gap is not None:
        return gap.reason
    inputs = getattr(model, "inputs", None) or ()
    read = [design.step(name).shape for name in design.inputs]
    same = [tuple(tensor.shape[1:]) for tensor in inputs] == read
    if same and getattr(model, "compiled", False):
        try:
            read_training(model)
        except NotCovered as error:
            return error.reason
        except ValueError as error:
            return str(error)
    return ""


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
