"""A study as its TOML file says it: the question, the arms, data, training, seeds and measures.

    question = "Is a wider net better?"
    [arms.narrow]
    model = "nets.py:narrow"
    [arms.wide]
    model = "nets.py:wide"

is a whole study; all other keys have defaults. ``docs/studies/README.md`` lists them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convmill.study import fields
from convmill.study.arm_spec import ArmSpec, from_folder, read_arms
from convmill.study.errors import StudyError
from convmill.study.measures import MEASURES
from convmill.study.vary import VarySpec, read_vary

KEYS = (
    *("title", "question", "measures", "seeds", "reference", "compare", "answer"),
    *("data", "training", "match", "vary", "marks", "arms", "quick"),
)
MEASURED = ("accuracy",)
ANSWERS = ("comparisons", "along", "rise", "spread", "means")  # how they are told: answers.py


@dataclass(frozen=True)
class Spec:
    """A study. ``compare`` are pairs of arms; ``source`` is the table that it was read from, with
    the quick form merged in where it is ``quick``."""

    name: str
    title: str
    question: str
    measures: tuple[str, ...]
    arms: tuple[ArmSpec, ...]
    compare: tuple[tuple[str, str], ...]
    answer: str
    vary: VarySpec | None
    marks: Mapping[str, float]
    quick: bool
    source: Mapping[str, Any]

    def arm(self, name: str) -> ArmSpec:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)


def read_spec(
    table: Mapping[str, Any], name: str, quick: bool = False, folder: Path | None = None
) -> Spec:
    """The study in a table, as TOML gives it; its quick form where that is asked for. Files that
    it names are looked for in ``folder`` first.

    Raises:
        StudyError: a wrong key or value; an arm without a model; a seed twice; a measure that does
            not exist; no quick form.
    """
    where = f"study '{name}'"
    fields.check_keys(table, KEYS, where)
    fields.check_values(table, where)
    whole = {key: value for key, value in table.items() if key != "quick"}
    if quick:
        if "quick" not in table:
            raise StudyError(f"{where} has no quick form: it has no table [quick].")
        smaller = fields.subtable(table, "quick", where)
        fields.check_keys(smaller, [key for key in KEYS if key != "quick"], f"{where}, [quick]")
        whole = fields.merged(whole, smaller)
    vary = read_vary(whole, where)
    arms = tuple(from_folder(arm, folder) for arm in read_arms(whole, where, vary))
    title = fields.text(whole, "title", where, name)
    return Spec(
        name=name,
        title=title,
        question=fields.text(whole, "question", where, title),
        measures=_read_measures(whole, where),
        arms=arms,
        compare=_read_compare(whole, arms, where),
        answer=fields.choice(whole, "answer", where, ANSWERS, "along" if vary else "comparisons"),
        vary=vary,
        marks=_read_marks(whole, where),
        quick=quick,
        source=whole,
    )


# What is varied, measured and compared ----------------------------------------------------------


def _read_measures(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    found = table.get("measures", list(MEASURED))
    if not isinstance(found, list) or not found or not all(isinstance(x, str) for x in found):
        raise fields.wrong(where, "measures", "a list of names", found)
    for name in found:
        fields.one_of(name, MEASURES, where, "measures")
    return tuple(dict.fromkeys(found))


def _read_marks(table: Mapping[str, Any], where: str) -> dict[str, float]:
    """Values of the first measure to be marked in pictures, by what they are."""
    marks = fields.subtable(table, "marks", where)
    for key, value in marks.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise fields.wrong(f"{where}, [marks]", key, "a number", value)
    return {key: float(value) for key, value in marks.items()}


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(name, str) for name in value)
    )


def _read_compare(
    table: Mapping[str, Any], arms: Sequence[ArmSpec], where: str
) -> tuple[tuple[str, str], ...]:
    """Pairs of arms; of what varies, the same pairs at each value."""
    bases = list(dict.fromkeys(arm.base for arm in arms))
    reference = fields.choice(table, "reference", where, bases, bases[0])
    value = table.get("compare", "reference")
    if value == "reference":
        pairs = [(reference, base) for base in bases if base != reference]
    elif value == "all":
        pairs = list(itertools.combinations(bases, 2))
    elif isinstance(value, list) and all(map(_is_pair, value)):
        pairs = [(one[0], one[1]) for one in value]
        for name in itertools.chain(*pairs):
            fields.one_of(name, bases, where, "compare")
    else:
        wanted = "'reference', 'all' or a list of pairs [['one', 'other'], ...]"
        raise fields.wrong(where, "compare", wanted, value)
    places = list(dict.fromkeys(arm.at for arm in arms))
    by_place = {(arm.base, arm.at): arm.name for arm in arms}
    return tuple((by_place[a, at], by_place[b, at]) for at in places for a, b in pairs)
