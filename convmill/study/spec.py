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
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convmill.data import names as data_names
from convmill.limits import LARGEST_SEED
from convmill.study import fields
from convmill.study.errors import StudyError
from convmill.study.measures import MEASURES
from convmill.study.settings import Data, Training, read_data, read_training
from convmill.whole import is_whole

KEYS = (
    *("title", "question", "measures", "seeds", "reference", "compare", "answer"),
    *("data", "training", "match", "vary", "marks", "arms", "quick"),
)
ARM_KEYS = (
    *("label", "model", "arguments", "like", "match", "weights"),
    *("data", "training", "options", "seeds"),
)
DRAWN, KEPT = "drawn", "kept"  # where the weights come from that an arm begins with
MATCH_KEYS = ("parameters", "multiply_adds")
VARY_KEYS = ("key", "label", "values", "logarithmic")
VARIED = ("data", "training", "arguments", "options")
SEEDS = 10
MEASURED = ("accuracy",)
ANSWERS = ("comparisons", "along", "rise", "spread", "means")  # how they are told: answers.py
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]*")
MOST_ARMS = 200


@dataclass(frozen=True)
class Match:
    """Which figure, "parameters" or "multiply_adds", is made that of which arm."""

    figure: str
    arm: str


@dataclass(frozen=True)
class ArmSpec:
    """One arm, all that it inherits filled in. ``model`` is a design by name, SCRIPT.py:FUNCTION or
    FILE.keras, ``weights`` says whether it begins with weights that the seed draws or with those
    that function or file give it; ``base`` and ``at`` say where it stands on what varies;
    ``options`` go to measures by their names."""

    name: str
    label: str
    model: str
    arguments: Mapping[str, Any]
    data: Data
    training: Training
    match: Match | None
    weights: str
    options: Mapping[str, Any]
    seeds: tuple[int, ...]
    base: str
    at: float | None


@dataclass(frozen=True)
class VarySpec:
    """The factor along which every arm is repeated: a key such as "data.train"."""

    key: str
    label: str
    values: tuple[Any, ...]
    logarithmic: bool


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
    whole = {key: value for key, value in table.items() if key != "quick"}
    if quick:
        if "quick" not in table:
            raise StudyError(f"{where} has no quick form: it has no table [quick].")
        smaller = fields.subtable(table, "quick", where)
        fields.check_keys(smaller, [key for key in KEYS if key != "quick"], f"{where}, [quick]")
        whole = merged(whole, smaller)
    vary = _read_vary(whole, where)
    arms = tuple(_from_folder(arm, folder) for arm in _read_arms(whole, where, vary))
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


def _from_folder(arm: ArmSpec, folder: Path | None) -> ArmSpec:
    """The arm with whole paths to the files that lie in ``folder``."""
    if folder is None:
        return arm
    script, _, function = arm.model.rpartition(":")
    path = folder / (script if script.endswith(".py") else arm.model)
    if path.is_file():
        arm = replace(arm, model=f"{path}:{function}" if script.endswith(".py") else str(path))
    data = folder / arm.data.name
    if arm.data.name not in data_names() and data.exists():
        arm = replace(arm, data=replace(arm.data, name=str(data)))
    return arm


def merged(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with what ``over`` says laid over it, tables within tables too."""
    result = dict(table)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


# Arms -------------------------------------------------------------------------------------------


def _read_arms(table: Mapping[str, Any], where: str, vary: VarySpec | None) -> tuple[ArmSpec, ...]:
    tables = fields.subtable(table, "arms", where)
    if not tables:
        raise StudyError(f"{where} has no arms: give it tables [arms.NAME] with a model each.")
    shared = {key: table[key] for key in ("data", "training", "match", "seeds") if key in table}
    arms = []
    for name in tables:
        if not NAME.fullmatch(name):
            raise StudyError(
                f"{where}: an arm's name must be of letters, digits, spaces, '_', '.', '+' and "
                f"'-'. Received: {name!r}."
            )
        whole = merged(shared, _inherited(tables, name, where, ()))
        if vary is None:
            arms.append(_read_arm(name, whole, f"{where}, arm '{name}'", name, None))
            continue
        for value in vary.values:
            at = merged(whole, _nested(vary.key, value))
            label = f"{name} @ {value}"
            arms.append(_read_arm(label, at, f"{where}, arm '{name}'", name, value))
    if len(arms) > MOST_ARMS:
        raise StudyError(f"{where} has {len(arms)} arms; {MOST_ARMS} are the most.")
    _check_matches(arms, tables, where)
    return tuple(arms)


def _inherited(
    tables: Mapping[str, Any], name: str, where: str, behind: tuple[str, ...]
) -> dict[str, Any]:
    """The table of an arm, laid over that of the arm which it is ``like``."""
    here = f"{where}, arm '{name}'"
    own = fields.subtable(tables, name, where)
    fields.check_keys(own, ARM_KEYS, here)
    like = fields.text(own, "like", here)
    if not like:
        return own
    fields.one_of(like, tables, here, "like")
    if like in (*behind, name):
        raise StudyError(f"{here} is like itself, by way of {' and '.join((*behind, name))}.")
    base = _inherited(tables, like, where, (*behind, name))
    inherited = {key: value for key, value in base.items() if key not in ("label", "match")}
    if "model" in own:  # another function takes other arguments
        inherited.pop("arguments", None)
    return merged(inherited, {key: value for key, value in own.items() if key != "like"})


def _read_arm(
    name: str, table: Mapping[str, Any], where: str, base: str, at: float | None
) -> ArmSpec:
    model = fields.text(table, "model", where)
    if not model:
        raise StudyError(
            f"{where} has no model. Give it model = a design's name, 'SCRIPT.py:FUNCTION' or "
            "'FILE.keras', or like = another arm's name."
        )
    match = _read_match(table, where)
    label = fields.text(table, "label", where, base)
    return ArmSpec(
        name=name,
        label=label if at is None else f"{label} at {at:,}",
        model=model,
        arguments=fields.subtable(table, "arguments", where),
        data=read_data(fields.subtable(table, "data", where), f"{where}, data"),
        training=read_training(fields.subtable(table, "training", where), f"{where}, training"),
        match=None if match is not None and match.arm == base else match,
        weights=_read_weights(table, match, where),
        options=fields.subtable(table, "options", where),
        seeds=_read_seeds(table, where),
        base=base,
        at=at,
    )


def _read_weights(table: Mapping[str, Any], match: Match | None, where: str) -> str:
    weights = fields.choice(table, "weights", where, (DRAWN, KEPT), DRAWN)
    if weights == KEPT and match is not None:
        raise StudyError(f"{where}: weights = 'kept' and match exclude each other.")
    return weights


def _read_match(table: Mapping[str, Any], where: str) -> Match | None:
    found = fields.subtable(table, "match", where)
    fields.check_keys(found, MATCH_KEYS, f"{where}, match")
    if len(found) > 1:
        raise StudyError(f"{where}: match takes one of {' and '.join(MATCH_KEYS)}, not both.")
    return next((Match(key, fields.text(found, key, where)) for key in found), None)


def _check_matches(arms: Sequence[ArmSpec], tables: Mapping[str, Any], where: str) -> None:
    for arm in arms:
        if arm.match is None:
            continue
        here = f"{where}, arm '{arm.base}'"
        fields.one_of(arm.match.arm, tables, here, arm.match.figure)
        if any(one.base == arm.match.arm and one.match for one in arms):
            raise StudyError(
                f"{here} is matched to '{arm.match.arm}', which is matched itself. Match both to "
                "one that is not."
            )


def _read_seeds(table: Mapping[str, Any], where: str) -> tuple[int, ...]:
    value = table.get("seeds", SEEDS)
    if is_whole(value) and value >= 1:
        return tuple(range(1, value + 1))
    seeds = value if isinstance(value, list) else []
    if not seeds or not all(is_whole(one) and 0 <= one <= LARGEST_SEED for one in seeds):
        wanted = f"a number of seeds, or a list of whole numbers from 0 to {LARGEST_SEED}"
        raise fields.wrong(where, "seeds", wanted, value)
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise StudyError(f"{where}: a seed may be named once only. Received: {seed} twice.")
    return tuple(seeds)


# What is varied, measured and compared ----------------------------------------------------------


def _read_vary(table: Mapping[str, Any], where: str) -> VarySpec | None:
    found = fields.subtable(table, "vary", where)
    if not found:
        return None
    here = f"{where}, [vary]"
    fields.check_keys(found, VARY_KEYS, here)
    key = fields.text(found, "key", here)
    first, dot, rest = key.partition(".")
    if first not in VARIED or not dot or not rest:
        raise fields.wrong(here, "key", "such as 'data.train' or 'arguments.window'", key)
    values = found.get("values")
    numbers = isinstance(values, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in values
    )
    if not numbers or not values or len(set(values)) < len(values):
        raise fields.wrong(here, "values", "a list of numbers, none of them twice", values)
    logarithmic = found.get("logarithmic", False)
    if not isinstance(logarithmic, bool):
        raise fields.wrong(here, "logarithmic", "true or false", logarithmic)
    return VarySpec(key, fields.text(found, "label", here, rest), tuple(values), logarithmic)


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}


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
    elif isinstance(value, list) and all(isinstance(one, list) and len(one) == 2 for one in value):
        pairs = [(one[0], one[1]) for one in value]
        for name in itertools.chain(*pairs):
            fields.one_of(str(name), bases, where, "compare")
    else:
        wanted = "'reference', 'all' or a list of pairs [['one', 'other'], ...]"
        raise fields.wrong(where, "compare", wanted, value)
    places = list(dict.fromkeys(arm.at for arm in arms))
    by_place = {(arm.base, arm.at): arm.name for arm in arms}
    return tuple((by_place[a, at], by_place[b, at]) for at in places for a, b in pairs)
