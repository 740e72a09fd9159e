"""The factor along which a study repeats its arms: its table [vary]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convmill.study import fields

VARY_KEYS = ("key", "label", "values", "logarithmic")
VARIED = ("data", "training", "arguments", "options")


@dataclass(frozen=True)
class VarySpec:
    """The factor along which every arm is repeated: a key such as "data.train"."""

    key: str
    label: str
    values: tuple[Any, ...]
    logarithmic: bool


def read_vary(table: Mapping[str, Any], where: str) -> VarySpec | None:
    """The table [vary] of a study; None where there is none. StudyError for what is wrong."""
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


def nested(key: str, value: Any) -> dict[str, Any]:
    """ "data.train" and 100 as {"data": {"train": 100}}."""
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}
