"""The page of a study: the question, the answer, pictures, tables, how it was run, raw numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

import numpy as np

from convmill.inspection.document import Column, Table
from convmill.inspection.numbers import plural
from convmill.page.document import Block, Download, Listing, Page, Section
from convmill.page.html import render
from convmill.page.study_figures import (
    arms,
    differences,
    learning,
    over_factor,
    values_by_seed,
)
from convmill.page.study_maps import maps
from convmill.plain_json import json_text
from convmill.study.result import Arm, Measure, StudyResult
from convmill.study.tables import arms_table, comparisons_table, matches
from convmill.study.words import difference, shown
from convmill.view.text import percent

MOST_CLASSES = 12
SECONDS = "s"
MEASURES_DRAWN = 3  # the others are in the tables
QUICK = "Quick form: fewer images, epochs or seeds than the full one."
TIMES = (
    "Times are those of runs made side by side, one a core, beside whatever else the machine did: "
    "they rank designs and tell no speed."
)
INTERVALS = (
    "Intervals are 95 % intervals of the mean, by Student's t over the seeds. Differences are of "
    "pairs: the same seed in both, so the same beginning where shapes allow, the same images and "
    "the same order."
)


def study_page(result: StudyResult) -> str:
    """The page as one HTML text that needs nothing else."""
    return render(page_of(result))


def page_of(result: StudyResult) -> Page:
    """What there is to say of a study, finished or not."""
    found = [Section("What was found", tuple(_found(result)))]
    if result.comparisons:
        found.append(Section("Differences", tuple(_differences(result))))
    found.append(Section("The arms", tuple(_arms(result))))
    if any(run.curves for run in result.runs):
        found.append(Section("How they learned", tuple(learning(result))))
    return Page(
        title=result.title,
        question=result.question,
        answer=result.answer,
        sections=tuple(section for section in found if section.blocks),
        how=_how(result),
        downloads=(
            Download("runs.csv", runs_csv(result)),
            Download("study.json", json_text(result.to_dict())),
        ),
    )


def _found(result: StudyResult) -> Iterator[Block]:
    """Notes, and pictures of the first measures."""
    if result.quick:
        yield QUICK
    yield from result.notes
    if any(measure.unit == SECONDS for measure in result.measures):
        yield TIMES
    draw = over_factor if result.vary is not None else arms
    for measure in result.measures[:MEASURES_DRAWN]:
        yield from draw(result, measure)
    for measure in result.measures:
        yield from maps(result, measure)


def _differences(result: StudyResult) -> Iterator[Block]:
    yield from differences(result, result.measures[0])
    yield Listing("Differences between arms, over pairs of equal seed", comparisons_table(result))
    yield INTERVALS


def _arms(result: StudyResult) -> Iterator[Block]:
    yield Listing("The arms, with the mean of each measure and its interval", arms_table(result))
    yield from _spread(result, result.measures[0])
    if matched := matches(result):
        titles = (Column("arm", right=False), Column("how it was matched", right=False))
        yield Listing("Arms that were made as large as another", Table(titles, tuple(matched)))
    yield from _classes(result)


def _spread(result: StudyResult, measure: Measure) -> Iterator[Block]:
    """How far single runs of an arm lie apart, and how many lie below what is marked."""
    columns = [Column("arm", right=False), Column("deviation\nof one run"), Column("least"),
               Column("greatest"), *(Column(f"below {name}") for name in result.marks)]  # fmt: skip
    rows = []
    for arm in result.arms:
        summary = arm.summary(measure.name)
        if summary is not None and summary.n > 1:
            deviation = difference(measure, summary.deviation)
            ends = (shown(measure, end) for end in (summary.least, summary.greatest))
            values = list(values_by_seed(result, arm.name, measure).values())
            below = (
                f"{sum(value < mark for value in values)} of {len(values)}"
                for mark in result.marks.values()
            )
            rows.append((arm.label, deviation, *ends, *below))
    if rows:
        table = Table(tuple(columns), tuple(rows))
        yield Listing(f"The spread of single runs: {measure.label}", table)


def _classes(result: StudyResult) -> Iterator[Block]:
    """The mean share of each class's images that are right, by arm."""
    names = list(dict.fromkeys(name for run in result.runs for name in run.per_class))
    if not 0 < len(names) <= MOST_CLASSES:
        return
    columns = (Column("arm", right=False), *map(Column, names))
    rows = [(arm.label, *(_share(result, arm, name) for name in names)) for arm in result.arms]
    told = tuple(row for row in rows if any(row[1:]))
    yield Listing("Recall of each class, the mean over seeds", Table(columns, told))


def _share(result: StudyResult, arm: Arm, name: str) -> str:
    shares = [run.per_class.get(name, math.nan) for run in result.runs if run.arm == arm.name]
    known = [share for share in shares if math.isfinite(share)]
    return percent(float(np.mean(known)), 1) if known else ""


def _how(result: StudyResult) -> tuple[tuple[str, str], ...]:
    seeds = len({run.seed for run in result.runs})
    runs = f"{len(result.runs):,} of {result.planned:,} are finished, {plural(seeds, 'seed')}"
    seconds = [run.seconds for run in result.runs if math.isfinite(run.seconds)]
    days = sorted(run.finished[:10] for run in result.runs if run.finished)
    facts = {
        "Command": result.command,
        "Runs": runs,
        "Time": f"{sum(seconds):,.0f} s of training on one thread" if seconds else "",
        "Versions": ", ".join(f"{name} {text}" for name, text in result.versions.items()),
        "Machine": result.machine,
        "Date": " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "",
        "Study": result.configuration.strip(),
    }
    return tuple((name, text) for name, text in facts.items() if text)


def runs_csv(result: StudyResult) -> str:
    """One line a run; what is not known, or not finite, is empty."""
    records = result.records()
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    missing = value is None or (isinstance(value, float) and not math.isfinite(value))
    return "" if missing else value


