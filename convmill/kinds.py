"""Arguments of another kind than is meant: one way to say which, and what would work."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any


def check_kind(name: str, value: Any, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Raises TypeError unless ``value`` is one of ``kinds``, in words ``wanted``."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {wanted}. Received: {name}={value!r}")


def check_path(name: str, value: Any, what: str = "the path of a file or folder") -> None:
    """Raises TypeError unless ``value`` is a path: text, or what is one as ``pathlib`` has them."""
    check_kind(name, value, (str, os.PathLike), f"{what}, as a str or a pathlib.Path")


def check_callable(name: str, value: Any, wanted: str) -> None:
    """Raises TypeError unless ``value`` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be {wanted}. Received: {name}={value!r}")


def check_texts(name: str, values: Any) -> None:
    """Raises TypeError unless ``values`` can be gone through, and is no single text."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of str. Received: {name}={values!r}")


def check_one_of(name: str, value: Any, choices: Collection[str | None]) -> None:
    """Raises ValueError unless ``value`` is one of ``choices``."""
    if not isinstance(value, str | None) or value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {listed}. Received: {name}={value!r}")
