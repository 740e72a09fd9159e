"""The arms of a study: tables that inherit from one another, at each place of what varies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convmill.data import names as data_names
from convmill.limits import LARGEST_SEED
from convmill.study import fields
from convmill.study.errors import StudyError
from convmill.study.settings import Data, Training, read_data, read_training
from convmill.study.vary import VarySpec, nested
from convmill.whole import is_whole

ARM_KEYS = (
    *("label", "model", "arguments", "like", "match", "weights"),
    *("data", "training", "options", "seeds"),
)
DRAWN, KEPT = "drawn", "kept"  # where the weights come from that an arm begins with
MATCH_KEYS = ("parameters", "multiply_adds")
SEEDS = 10
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


def read_arms(table: Mapping[str, Any], where: str, vary: VarySpec | None) -> tuple[ArmSpec, ...]:
    """The arms of a study's table, each at each place of what varies. StudyError for what is
    wrong."""
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
        whole = fields.merged(shared, _inherited(tables, name, where, ()))
        if vary is None:
            arms.append(_read_arm(name, whole, f"{where}, arm '{name}'", name, None))
            continue
        for value in vary.values:
            at = fields.merged(whole, nested(vary.key, value))
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
    return fields.merged(inherited, {key: value for key, value in own.items() if key != "like"})


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


def from_folder(arm: ArmSpec, folder: Path | None) -> ArmSpec:
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
