"""The columns of an inspection's table: a title, and the text of each layer's cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from convmill.design.fields import AxisField, Field
from convmill.inspection import numbers
from convmill.inspection.document import Column, Table
from convmill.inspection.rows import Row

UNKNOWN = "?"
OTHER = "comparisons, additions, activations, normalization"
TRAINING = "the same in training, without the zeros behind max pooling"
TIME = "in one training step, predicted for this machine"
KEPT = "for the backward pass of one image"
SEES = "receptive field of a unit, height x width in pixels"
LOCALLY = "the same without gates from global pooling, where that is less"
CellText = Callable[["Row"], str]


def table(rows: Iterable[Row]) -> Table:
    """One line a layer; columns in which no layer has anything are left out."""
    rows = tuple(rows)
    used = [(column, text) for column, text in COLUMNS if any(map(text, rows))]
    cells = tuple(tuple(text(row) for _, text in used) for row in rows)
    return Table(tuple(column for column, _ in used), cells)


def shape(row: Row) -> str:
    """The output of one image."""
    return numbers.times(row.step.shape) if row.step.shape else "1"


def parameters(row: Row) -> str:
    """Parameters; those of a shared layer stand where it is first used."""
    return numbers.count(row.cost.parameters) if row.cost.parameters else ""


def forward(row: Row) -> str:
    """Multiply-adds of the forward pass."""
    return _work(row, row.cost.forward)


def training(row: Row) -> str:
    """Multiply-adds of training, the zeros that max pooling leaves skipped."""
    return _work(row, row.cost.sparse_training)


def dense_training(row: Row) -> str:
    """Multiply-adds of training with all zeros computed."""
    return _work(row, row.cost.training)


def operations(row: Row) -> str:
    """Whatever else the forward pass computes."""
    return _work(row, row.cost.forward_operations)


def _work(row: Row, count: int, text: Callable[[float], str] = numbers.count) -> str:
    if not row.cost.counted:
        return UNKNOWN
    return text(count) if count else ""


def kept(row: Row) -> str:
    """Bytes that stay until the backward pass."""
    return _work(row, row.cost.kept_bytes, numbers.in_bytes)


def output_bytes(row: Row) -> str:
    """Bytes of the output."""
    return numbers.in_bytes(row.cost.output_bytes)


def sees(row: Row) -> str:
    """The receptive field, height by width in pixels; one for each input of the model."""
    return _fields(row.fields)


def sees_locally(row: Row) -> str:
    """The local field where it is another one: behind gates that global pooling computes."""
    local = _fields(row.local_fields)
    return local if local != sees(row) else ""


def map_in_words(row: Row) -> str:
    """A feature map's name, size and fields."""
    size = f"{row.name}, {shape(row)} = {numbers.plural(math.prod(row.step.shape), 'coefficient')}"
    local = f"; locally {_in_words(row.local_fields)}" if sees_locally(row) else ""
    return f"{size}; a unit sees {_in_words(row.fields)}{local}"


def _in_words(fields: Mapping[str, Field]) -> str:
    """18x18 pixels (41.3 %); the inputs' names where there are several."""
    told = {
        name: f"{field_size(field)} pixels ({numbers.percent(field.share)})"
        if field.known
        else "what is not known"
        for name, field in fields.items()
    }
    if len(told) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{text} of {name}" for name, text in told.items())


def _fields(fields: Mapping[str, Field]) -> str:
    return ", ".join(map(field_size, fields.values()))


def field_size(field: Field) -> str:
    """The theoretical field: 18x18."""
    if not field.known:
        return UNKNOWN
    return numbers.times((field.rows.size, field.columns.size))


def paths(row: Row) -> str:
    """The field of each branch that comes together here."""
    return " + ".join(_fields(path.fields) for path in row.paths)


def jump(row: Row) -> str:
    """Pixels from one unit's field to the next one's."""
    return _each_axis(row, lambda axis: axis.jump)


def start(row: Row) -> str:
    """The first pixel of unit 0's field; negative in padding."""
    return _each_axis(row, lambda axis: axis.start)


def _each_axis(row: Row, value: Callable[[AxisField], int | None]) -> str:
    return _each_input(row, lambda field: _pair(value(field.rows), value(field.columns)))


def _each_input(row: Row, text: Callable[[Field], str]) -> str:
    """What there is to say of the field on each input of the model."""
    return ", ".join(text(f) if f.known else UNKNOWN for f in row.fields.values())


def _pair(one: int | None, other: int | None) -> str:
    if one == other:
        return "" if one is None else str(one)
    return "x".join("-" if value is None else str(value) for value in (one, other))


def share(row: Row) -> str:
    """The share of the input that the unit sees which sees most."""
    return _each_input(row, lambda field: numbers.percent(field.share))


def border(row: Row) -> str:
    """Rows and columns that the map lost to its borders."""
    return numbers.times(row.cost.border) if any(row.cost.border) else ""


def dropped(row: Row) -> str:
    """Rows and columns of what it reads that no window reaches."""
    return numbers.times(row.cost.dropped) if any(row.cost.dropped) else ""


def time(row: Row) -> str:
    """Predicted time in one step of training."""
    return "" if row.step_seconds is None else numbers.seconds(row.step_seconds)


# In the order in which they stand; ranks say what a narrow terminal shows, and any terminal.
COLUMNS: tuple[tuple[Column, CellText], ...] = (
    (Column("layer", 0, right=False), lambda row: row.step.name),
    (Column("output", 1), shape),
    (Column("parameters", 3), parameters),
    (Column("forward", 4, note="forward: multiply-adds for one image"), forward),
    (Column("training", 5, note=f"training: {TRAINING}"), training),
    (Column("training,\ndense", 13, note="training, dense: with those zeros"), dense_training),
    (Column("other\nforward", 14, note=f"other forward: {OTHER}, for one image"), operations),
    (Column("time", 6, note=f"time: {TIME}"), time),
    (Column("kept", 7, note=f"kept: {KEPT}"), kept),
    (Column("output\nbytes", 12), output_bytes),
    (Column("sees", 2, note=f"sees: {SEES}"), sees),
    (Column("sees\nlocally", 3, note=f"sees locally: {LOCALLY}"), sees_locally),
    (Column("paths", 5, note="paths: the same of each branch"), paths),
    (Column("share", 8, note="share: of the image, for the unit that sees most"), share),
    (Column("jump", 9, note="jump: pixels from one unit's field to the next"), jump),
    (Column("start", 10, note="start: first pixel of the first unit's field"), start),
    (Column("border\nlost", 9, note="border lost: rows x columns for want of padding"), border),
    (Column("not\nread", 11, note="not read: last rows x columns of the input"), dropped),
)
