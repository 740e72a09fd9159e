"""The kinds of inputs, by name; each is a module with ``begin(folder)``: its cases."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Inputs of each kind in the long form: many where one takes a millisecond (arrays, most files), and
# few where each compiles a net or runs a command.
SHARES = {
    "arrays": 470_000,
    "files": 500_000,
    "native": 20_000,
    "commands": 9_800,
    "models": 200,
}
KINDS = tuple(SHARES)


def begin(kind: str, folder: Path) -> Any:
    """The cases of a kind, with files in ``folder``."""
    return importlib.import_module(f"tests.robust.fuzz.{kind}").begin(folder)


def shared(count: int, kinds: Iterable[str]) -> dict[str, int]:
    """``count`` inputs as the kinds share them, each with one at least."""
    shares = {kind: SHARES[kind] for kind in kinds}
    return {kind: max(1, count * one // sum(shares.values())) for kind, one in shares.items()}
