"""Whole trainings by name: what ``convmill train --recipe NAME`` runs.

Each file holds one: its net, its schedule, and the figures that it was measured with. (A Recipe, in
``plan/recipe.py``, is less: the loss and the optimizer that ``compile`` was given.)
Nothing here needs Keras before ``load`` is called, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convmill.presets.preset import Preset

NAMES = ("fast", "notebook-fast")


def load(name: str) -> Preset:
    """The preset of that name. Raises KeyError where there is none."""
    if name not in NAMES:
        raise KeyError(name)
    found: Preset = import_module(f"convmill.presets.{name.replace('-', '_')}").PRESET
    return found
