"""Tables of a TOML file, read key by key: what is wrong names its key, and the nearest right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from convmill.failure import nearest
from convmill.study.errors import StudyError
from convmill.whole import is_whole

Table = Mapping[str, Any]


def check_keys(table: Table, known: Iterable[str], where: str) -> None:
    """Raises StudyError for a key that is not among ``known``."""
    names = list(known)
    for key in table:
        if key not in names:
            raise StudyError(
                f"{where}: there is no key '{key}'.{nearest(str(key), names)} "
                f"The keys are: {', '.join(names)}."
            )


def check_values(table: Table, where: str, path: str = "") -> None:
    """Raises StudyError for a value, however deep, that is no text, finite number, true or false,
    list or table of these: no study can hold it, nor be written down with it."""
    for key, value in table.items():
        _check_value(value, where, f"{path}{key}")


def _check_value(value: Any, where: str, key: str) -> None:
    if isinstance(value, Mapping):
        check_values(value, where, f"{key}.")
    elif isinstance(value, list | tuple):
        for one in value:
            _check_value(one, where, key)
    elif isinstance(value, float) and not math.isfinite(value):
        raise wrong(where, key, "a finite number", value)
    elif not isinstance(value, str | int | float | None):
        raise wrong(where, key, "a text, a number, true, false, a list or a table", value)


def text(table: Table, key: str, where: str, otherwise: str = "") -> str:
    """A text; StudyError where the key holds something else."""
    value = table.get(key, otherwise)
    if not isinstance(value, str):
        raise wrong(where, key, "a text", value)
    return value


def subtable(table: Table, key: str, where: str) -> dict[str, Any]:
    """A table, empty where there is none; StudyError where the key holds something else."""
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise wrong(where, key, "a table", value)
    return dict(value)


def whole(table: Table, key: str, where: str, otherwise: int | None, least: int = 1) -> int | None:
    """A whole number of at least ``least``; StudyError where the key holds something else."""
    value = table.get(key, otherwise)
    if value is None or (is_whole(value) and value >= least):
        return None if value is None else int(value)
    raise wrong(where, key, f"a whole number of at least {least}", value)


def number(table: Table, key: str, where: str, otherwise: float | None = None) -> float | None:
    """A positive number; StudyError where the key holds something else."""
    value = table.get(key, otherwise)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise wrong(where, key, "a positive number", value)


def choice(table: Table, key: str, where: str, among: Iterable[str], otherwise: str) -> str:
    """One of several texts; StudyError, naming the nearest, where the key holds another."""
    return one_of(text(table, key, where, otherwise), among, where, key)


def one_of(value: str, among: Iterable[str], where: str, key: str) -> str:
    """``value``, which must be ``among`` some; StudyError, naming the nearest, where it is not."""
    names = list(among)
    if value in names:
        return value
    raise StudyError(
        f"{where}: {key} must be one of {', '.join(names)}. Received: {key} = {value!r}."
        f"{nearest(value, names)}"
    )


def wrong(where: str, key: str, wanted: str, value: Any) -> StudyError:
    """What to raise where a key holds something else than what is ``wanted``."""
    return StudyError(f"{where}: {key} must be {wanted}. Received: {key} = {value!r}.")


def merged(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with what ``over`` says laid over it, tables within tables too."""
    result = dict(table)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result
