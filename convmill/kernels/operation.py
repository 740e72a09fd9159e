"""What the compiler wants to know of an operation: its launches, the kernels behind them, and a few
words for reports. One file of this folder holds all of it for one operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from convmill.kernels.build import Kernel
from convmill.lower.launches import Launch
from convmill.lower.network import Gradients
from convmill.lower.stages import Stage

S = TypeVar("S", bound=Stage)
Write = Callable[[Kernel], None]  # writes the body of a launch's function


@dataclass(frozen=True)
class Site(Generic[S]):
    """A stage in the program at hand: ``of`` names its launches, ``gradients`` are those that this
    program computes, and shares along filters are whole multiples of ``lanes``."""

    stage: S
    of: str
    gradients: Gradients
    training: bool
    lanes: int


Launches = Callable[[Site], list[Launch]]


def nothing(site: Site) -> list[Launch]:
    """No launches."""
    return []


@dataclass(frozen=True)
class Operation:
    """``prepare`` are launches once a call, ``forward`` and ``backward`` those over images (and
    over shares between them, where images need one another), ``weight_gradient`` over shares of the
    stage's parameters; ``kernels`` write the functions behind them. ``words`` say what a stage
    computes, ``tiles`` how."""

    forward: Launches
    kernels: Mapping[str, Write]
    words: Callable[[Any], str]
    prepare: Launches = nothing
    backward: Launches = nothing
    weight_gradient: Launches = nothing
    tiles: Callable[[Any], str] = field(default=lambda stage: "")
