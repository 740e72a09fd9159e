"""The kinds of cases, by name; each is a module with ``begin(folder)``, which returns its cases."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

KINDS = ("arrays", "models", "files", "commands", "native")


def begin(kind: str, folder: Path) -> Any:
    """The cases of a kind, with files in ``folder``."""
    return importlib.import_module(f"tests.robust.fuzz.{kind}").begin(folder)
