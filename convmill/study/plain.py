"""Frozen dataclasses back from plain values, as ``dataclasses.asdict`` and JSON leave them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

NAMES: dict[Any, str] = {
    list: "a list",
    Mapping: "a table",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def from_plain(kind: Any, value: Any) -> Any:
    """``value`` as ``kind``: a dataclass, ``tuple``, ``Mapping``, ``float``, ``int``, ``str``,
    ``bool``, or one of these or None. None for a float is NaN, as JSON has no other word for it.

    Raises:
        ValueError: it is something else, or lacks a field that has no default.
    """
    given, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _dataclass(kind, value)
    if given is tuple:
        return _tuple(arguments, _checked(value, list, tuple))
    if given is Mapping:
        table = _checked(value, Mapping)
        return {str(key): from_plain(arguments[1], item) for key, item in table.items()}
    if given in (Union, UnionType):
        (inner,) = (each for each in arguments if each is not type(None))
        return None if value is None else from_plain(inner, value)
    if kind is float:
        return math.nan if value is None else float(_checked(value, float, int))
    return _checked(value, kind)


def _dataclass(kind: Any, value: Any) -> Any:
    table, hints = _checked(value, Mapping), get_type_hints(kind)
    known = {each.name: hints[each.name] for each in fields(kind)}
    for each in fields(kind):
        if each.name not in table and each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"there is no {each.name!r}")
    return kind(
        **{name: _named(name, hint, table[name]) for name, hint in known.items() if name in table}
    )


def _named(name: str, kind: Any, value: Any) -> Any:
    try:
        return from_plain(kind, value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _tuple(arguments: tuple[Any, ...], values: Any) -> tuple[Any, ...]:
    """Of any length where the type says so, else of the length that it says."""
    if arguments[1:] == (Ellipsis,):
        return tuple(from_plain(arguments[0], value) for value in values)
    if len(values) != len(arguments):
        raise ValueError(f"the list must be of {len(arguments)}. Received: {len(values)}")
    return tuple(from_plain(kind, value) for kind, value in zip(arguments, values, strict=True))


def _checked(value: Any, *kinds: Any) -> Any:
    whole = isinstance(value, bool) and bool not in kinds  # which Python takes for a number
    if whole or not isinstance(value, kinds):
        raise ValueError(f"there must be {NAMES[kinds[0]]}. Received: {value!r}")
    return value
