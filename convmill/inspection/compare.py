"""Two designs side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from itertools import zip_longest
from typing import Any

from convmill.design.fields import Field
from convmill.inspection import columns, numbers
from convmill.inspection.document import Column, Document, Section, Table
from convmill.inspection.faces import Report
from convmill.inspection.report import Inspection
from convmill.inspection.rows import Row

Pair = tuple[Row | None, Row | None]


@dataclass(frozen=True, repr=False)
class Comparison(Report):
    """Two inspections, their layers aligned. Prints as a table, and shows itself in notebooks."""

    a: Inspection
    b: Inspection

    @cached_property
    def aligned(self) -> tuple[Pair, ...]:
        """Rows of both that belong together; None where one has no such layer."""
        return tuple(_aligned(self.a.rows, self.b.rows))

    @property
    def ratios(self) -> dict[str, float | None]:
        """Totals of B to those of A, by name; None where one of them has no such figure, or it is
        not known of the whole design."""
        return {total.key: total.ratio(self.a, self.b) for total in TOTALS}

    def document(self) -> Document:
        """What there is to say."""
        return Document(
            title=f"A: {self.a.name}   B: {self.b.name}",
            tables=(_layers(self.aligned), _totals(self.a, self.b)),
            lines=self._lines(),
            sections=(_section("A", self.a), _section("B", self.b)),
        )

    def _lines(self) -> tuple[str, ...]:
        """What is not known, and what the times are of."""
        gaps = [
            f"{letter}: {gap}."
            for letter, each in (("A", self.a), ("B", self.b))
            for gap in each.gaps()
        ]
        towers = [
            f"{letter}: Last feature map: {columns.map_in_words(row)}."
            for letter, each in (("A", self.a), ("B", self.b))
            for row in each.last_maps
            if len(each.last_maps) > 1
        ]
        sizes = dict.fromkeys(each.batch_size for each in (self.a, self.b) if each.step_seconds)
        times = (f"Times are of steps of {numbers.plural(size, 'image')}." for size in sizes)
        return (*gaps, *towers, *times)

    def dead_ends(self) -> tuple[str, ...]:
        """A sentence for each design whose shapes come to an end."""
        return (*self.a.dead_ends(), *self.b.dead_ends())

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, with units in the keys, fit for JSON."""
        pairs = [[row.name if row else None for row in pair] for pair in self.aligned]
        return {
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "aligned_layers": pairs,
            "ratios": self.ratios,  # B to A, None where A has nothing, or one is not known
        }


def compare(a: Inspection, b: Inspection) -> Comparison:
    """Lays two designs side by side, layer by layer and in sum.

    Args:
        a, b: what ``inspect`` returned for each; ratios are of ``b`` to ``a``.

    Returns:
        What prints as a table.

    Raises:
        TypeError: ``a`` or ``b`` is not what ``inspect`` returns.
    """
    for name, given in (("a", a), ("b", b)):
        if not isinstance(given, Inspection):
            raise TypeError(
                "compare takes what inspect returns: pass convmill.inspect(model), not the model. "
                f"Received: {name}={type(given).__name__}"
            )
    return Comparison(a, b)


def _section(letter: str, inspection: Inspection) -> Section:
    found = inspection.findings
    return Section(f"Findings of {letter}, {inspection.name}: {len(found) or 'none'}", found)


# Layers ------------------------------------------------------------------------------------------

# Title, rank, note and cell.
_PAIRED: tuple[tuple[str, int, str, columns.CellText], ...] = (
    ("output", 1, "", columns.shape),
    ("parameters", 3, "", columns.parameters),
    ("training", 4, "training: multiply-adds for one image", columns.training),
    ("time", 5, f"time: {columns.TIME}", columns.time),
    ("kept", 6, f"kept: {columns.KEPT}", columns.kept),
    ("sees", 2, f"sees: {columns.SEES}", columns.sees),
    ("sees\nlocally", 3, f"sees locally: {columns.LOCALLY}", columns.sees_locally),
)


def _aligned(a: tuple[Row, ...], b: tuple[Row, ...]) -> Iterator[Pair]:
    """Layers of the same kind beside each other, in their order; the others by their place."""
    kinds = [[str(row.step.kind) for row in rows] for rows in (a, b)]
    matcher = SequenceMatcher(a=kinds[0], b=kinds[1], autojunk=False)
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        yield from zip_longest(a[start:end], b[other_start:other_end])


def _layers(aligned: tuple[Pair, ...]) -> Table:
    rows = [
        (_name(pair), *(text(row) if row else "" for *_, text in _PAIRED for row in pair))
        for pair in aligned
    ]
    titles = [
        Column(f"{title}\n{letter}", rank, note=note)
        for title, rank, note, _ in _PAIRED
        for letter in ("A", "B")
    ]
    head = (Column("layer", 0, right=False), *titles)
    used = [index for index in range(len(head)) if any(row[index] for row in rows)]
    return Table(
        tuple(head[index] for index in used),
        tuple(tuple(row[index] for index in used) for row in rows),
    )


def _name(pair: Pair) -> str:
    return " / ".join(dict.fromkeys(row.name for row in pair if row is not None))


# Totals ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Total:
    """One figure of a whole design; ``value`` is None for a design that has none.

    ``known`` is False where the figure is not that of the whole design: it is marked, and nothing
    is divided by it.
    """

    title: str
    key: str
    value: Callable[[Inspection], float | None]
    text: Callable[[float], str]
    known: Callable[[Inspection], bool] = lambda inspection: True

    def ratio(self, a: Inspection, b: Inspection) -> float | None:
        """B's figure to A's; None where there is none, or one of them is not known."""
        first, second = self.value(a), self.value(b)
        known = self.known(a) and self.known(b)
        return second / first if known and first and second is not None else None

    def cells(self, a: Inspection, b: Inspection) -> tuple[str, ...]:
        """Both figures and their ratio, as they are shown."""
        figures = [(self.value(each), self.known(each)) for each in (a, b)]
        texts = [
            "" if value is None else ("" if known else numbers.AT_LEAST_SHORT) + self.text(value)
            for value, known in figures
        ]
        ratio = self.ratio(a, b)
        there = all(value is not None for value, _ in figures)
        unknown = columns.UNKNOWN if there and not all(known for _, known in figures) else ""
        return (*texts, unknown if ratio is None else f"{ratio:.3g}")


def _sum(title: str, key: str, figure: str, text: Callable[[float], str] = numbers.count) -> Total:
    """A figure of ``Inspection.total``."""
    return Total(
        title, key, lambda i: getattr(i.total, figure), text, known=lambda i: i.knows(figure)
    )


def _coefficients(inspection: Inspection) -> int | None:
    """Those of the last feature maps of all towers together."""
    return sum(math.prod(row.step.shape) for row in inspection.last_maps) or None


def _seen(inspection: Inspection) -> float | None:
    return _share(row.fields for row in inspection.last_maps)


def _seen_locally(inspection: Inspection) -> float | None:
    return _share(row.local_fields for row in inspection.last_maps)


def _share(maps: Iterable[Mapping[str, Field]]) -> float | None:
    """The share of an image that units see: of several towers', of the one that sees least."""
    shares = [max((f.share for f in each.values() if f.known), default=None) for each in maps]
    return min((share for share in shares if share is not None), default=None)


TOTALS = (
    # of one image, but for the time
    _sum("parameters", "parameters", "parameters"),
    _sum("multiply-adds, forward", "forward_multiply_adds", "forward"),
    _sum("multiply-adds, training", "training_multiply_adds", "sparse_training"),
    _sum("other operations, forward", "forward_other_operations", "forward_operations"),
    _sum("kept for the backward pass", "kept_bytes", "kept_bytes", numbers.in_bytes),
    Total("time of a training step", "step_seconds", lambda i: i.step_seconds, numbers.seconds),
    Total("coefficients of the last feature map", "last_map_coefficients", _coefficients,
          numbers.count),
    Total("share of the image that its units see", "last_map_share_of_input", _seen,
          numbers.percent),
    Total("the same without gates from global pooling", "last_map_local_share_of_input",
          _seen_locally, numbers.percent),
)  # fmt: skip


def _totals(a: Inspection, b: Inspection) -> Table:
    rows = [(total.title, *total.cells(a, b)) for total in TOTALS]
    if all(_seen(each) == _seen_locally(each) for each in (a, b)):
        rows.pop()  # the local field is the field
    rows = [row for row in rows if any(row[1:])]
    titles = (Column("in all", right=False), *map(Column, ("A", "B", "B / A")))
    return Table(titles, tuple(rows))
