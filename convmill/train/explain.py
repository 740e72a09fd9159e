"""What was compiled of a Keras model and how, for people; or why it was not compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from convmill.plain_text import plain_text
from convmill.plan.halves import halves
from convmill.plan.rebuild import check_model
from convmill.plan.refusals import NotCovered
from convmill.printing import line_width
from convmill.runtime.program import Kind
from convmill.runtime.report import ProgramReport, StageReport, report
from convmill.train.bound import Bound
from convmill.train.compilation.optimizer import bridged
from convmill.train.prepare import check_class
from convmill.train.session import session
from convmill.train.times import Times, times_of
from convmill.train.trial import trial_of
from convmill.whole import check_whole

TEXT_WIDTH = 118
_WIDEST = 10_000  # of a table that wraps nothing


@dataclass(frozen=True)
class Explanation:
    """Prints as a table. ``report`` holds the figures; None where the model is not compiled, and
    then ``reason`` and ``remedy`` say why and what would help. ``bridged`` names what Keras itself
    does in a step of training, by what is computed natively; ``notes`` say what is computed
    otherwise than asked for; ``times`` how long each stage takes, where that was measured.
    """

    model: str
    report: ProgramReport | None
    reason: str = ""
    remedy: str = ""
    bridged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    times: Times | None = None

    @property
    def compiled(self) -> bool:
        """Whether the model runs compiled."""
        return self.report is not None

    @property
    def stages(self) -> tuple[StageReport, ...]:
        """One row for each stage, in order."""
        return self.report.stages if self.report else ()

    @property
    def compile_seconds(self) -> float:
        """Seconds from the Graph to native code: building the IR and compiling it."""
        if self.report is None:
            return 0.0
        return self.report.build_seconds + self.report.compile_seconds

    def ir(self, stage: str, kind: Kind = "training") -> str:
        """LLVM IR of one stage, optimized.

        Raises KeyError for a stage that does not exist, NotCovered for a model not compiled.
        """
        return self._report().ir(stage, kind)

    def assembly(self, stage: str, kind: Kind = "training") -> str:
        """The processor's instructions of one stage.

        Raises KeyError for a stage that does not exist, NotCovered for a model not compiled.
        """
        return self._report().assembly(stage, kind)

    def _report(self) -> ProgramReport:
        if self.report is None:
            raise NotCovered(self.reason, self.remedy)
        return self.report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.report is None:
            lines = [f"{self.model} is not compiled: {self.reason}."]
            if self.remedy:
                lines.append(f"To have it compiled: {self.remedy}.")
        else:
            table = _table(self.model, self.report, self.times)
            wide = Measurement.get(console, options.update(max_width=_WIDEST), table).maximum
            fits = wide <= options.max_width
            yield table if fits else _table(self.model, self.report, self.times, tiles=False)
            left_out = f"Tiles in registers are told where lines have {wide} letters."
            lines = [*([] if fits else [left_out]), *self._lines(self.report)]
        yield Text("\n".join(lines))

    def _lines(self, report: ProgramReport) -> Iterator[str]:
        """What stands below the table."""
        yield _summary(report)
        if self.times is not None:
            yield _timed(self.times)
        if self.bridged:
            done = ", ".join(self.bridged)
            yield f"Bridged, done by Keras in each step of training: {done}."
        for note in self.notes:
            yield f"Note: {note}."

    def __str__(self) -> str:
        return plain_text(self, line_width(TEXT_WIDTH))

    __repr__ = __str__


def explain(model: Any, x: Any = None, y: Any = None, *, batch_size: int = 64) -> Explanation:
    """What convmill makes of a Keras model: stages, tiles, arithmetic, memory, seconds.

    A compiled model (``model.compile``) is explained for training and inference, else for
    inference alone; one that takes images of several sizes for those that it has seen last. Native
    code that is not there yet is built; the model is not changed. With ``x`` and ``y`` a step of
    training on their first batch is measured, stage by stage on one thread, in a program of its
    own, beside the time that ``convmill.inspect`` predicts.

    Args:
        model: a Keras model, accelerated or not.
        x, y: arrays as ``fit`` takes them, of which the first ``batch_size`` images are taken; or
            neither.
        batch_size: images in the step that is measured.

    Returns:
        What prints as a table, and holds its figures: multiply-adds of an image, bytes, seconds.
        Of a model that is not compiled, or cannot be measured, the reason and what would help;
        nothing is raised for it. Where times were measured they stand in the table in the place of
        multiply-adds.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: one of ``x`` and ``y`` alone; ``x`` is a stream; ``compile`` was not called;
            ``batch_size`` is no positive whole number, or the data do not fit the model.
    """
    check_model(model)
    batch_size = check_whole("batch_size", batch_size, 1)
    if (x is None) != (y is None):
        there = "x" if y is None else "y"
        raise ValueError(f"x and y are measured together. Received: {there} alone")
    try:
        check_class(model, training=False)
        training, notes = _trains(model)
        bound = Bound(model, training, session(model).sizes)
        by_keras = tuple(bridged(bound.optimizer, bound.reading)) if training else ()
        losses = dict.fromkeys(f"the loss {loss.name}" for loss in bound.losses.values())
        done = (*losses, *by_keras)
        notes += bound.reading.notes
        base = halves(bound.graph) if training else None
        if base is not None:
            layers = "1 layer" if base.layers == 1 else f"{base.layers} layers"
            notes += (f"the frozen base, {layers}, is computed once a fit",)
        found = Explanation(model.name, report(bound.program), bridged=done, notes=notes)
    except NotCovered as gap:
        return Explanation(getattr(model, "name", "model"), None, gap.reason, gap.remedy)
    return found if x is None else _measured(model, found, x, y, batch_size)


def _measured(model: Any, found: Explanation, x: Any, y: Any, batch_size: int) -> Explanation:
    """With the times of its stages, or a note that says why there are none."""
    try:
        times = times_of(trial_of(model, x, y, batch_size, "measure"))
    except NotCovered as gap:
        why = f"stages are not measured: {gap.reason}; {gap.remedy}"
        return replace(found, notes=(*found.notes, why))
    return replace(found, times=times)


def _trains(model: Any) -> tuple[bool, tuple[str, ...]]:
    """Whether training is compiled, as far as the model's class goes; where not, a note."""
    if getattr(model, "optimizer", None) is None:
        return False, ()
    try:
        check_class(model, training=True)
    except NotCovered as gap:
        return False, (f"training runs on Keras' own path: {gap.reason}",)
    return True, ()


def _table(model: str, found: ProgramReport, times: Times | None, tiles: bool = True) -> Table:
    """Stages as rows, with what is fused in them below their names, with or without their tiles."""
    kind = "training" if found.program.recipe is not None else "inference"
    table = Table(
        title=f"{model}: compiled for {kind}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("stage", overflow="fold", no_wrap=tiles, min_width=8)
    table.add_column("computes", min_width=8)
    table.add_column("output", justify="right", no_wrap=True)
    if tiles:
        table.add_column("tiles in registers,\nvectors last", no_wrap=True)
    figures = ("dense", "done") if times is None else ("predicted,\nus", "measured,\nus")
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    for number, row in enumerate(found.stages):
        table.add_row(
            "\n".join([row.name, *(f"+ {name}" for name in row.fused)]),
            row.operation,
            "x".join(map(str, row.output_shape)),
            *([row.tiles.replace("; ", "\n")] if tiles else []),
            *(_arithmetic(row) if times is None else _microseconds(*times.of(number))),
        )
    return table


def _arithmetic(row: StageReport) -> list[str]:
    return [f"{count:,}" if count else "" for count in (row.dense, row.done)]


def _microseconds(*seconds: float | None) -> list[str]:
    return ["" if one is None else f"{1e6 * one:.1f}" for one in seconds]


def _timed(times: Times) -> str:
    """What was measured, below the table."""
    predicted = sum(one for one in times.predicted if one is not None)
    measured = sum(times.measured) + times.rest
    told = _microseconds(predicted, measured, times.rest)
    return (
        f"An image of a step of {times.images} on one thread: {told[0]} us predicted, {told[1]} us "
        f"measured, {told[2]} of them for images and losses."
    )


def _summary(found: ProgramReport) -> str:
    """Totals below the table."""
    saved = found.dense / found.done if found.done else 1.0
    return "\n".join(
        [
            f"Vectors of {found.lanes} float32 ({found.target}), {found.threads} threads.",
            f"Multiply-adds of an image: {found.dense:,} dense, {found.done:,} really done "
            f"({saved:.2f} times fewer).",
            *_counted(found),
            f"Memory: {_bytes(found.parameter_bytes)} for weights and optimizer, "
            f"{_bytes(found.image_bytes)} for each image of a batch, "
            f"{_bytes(found.thread_bytes)} for each thread"
            + (f", {_bytes(found.sums_bytes)} for sums of gradients." if found.sums_bytes else "."),
            _compiling(found),
        ]
    )


def _counted(found: ProgramReport) -> list[str]:
    """What "really done" is, where it is not all that dense arithmetic does."""
    if found.done == found.dense:
        return []
    told = "Really done counts Winograd's products where that algorithm is taken"
    if found.program.recipe is not None:
        told += (
            ", and gradients of the places that were live in the last batch; before fit, of all "
            "that max pooling lets through"
        )
    return [f"{told}."]


def _compiling(found: ProgramReport) -> str:
    """How long native code took to come about."""
    seconds = found.build_seconds + found.compile_seconds
    if found.kept:
        return f"Loaded in {seconds:.2f} s from the code that an earlier process compiled."
    return (
        f"Compiled in {seconds:.2f} s: {found.build_seconds:.2f} s to build the LLVM IR, "
        f"{found.compile_seconds:.2f} s to compile it."
    )


def _bytes(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
