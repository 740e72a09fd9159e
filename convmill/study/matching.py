"""Arms made equal in size: widths scaled until parameters or multiply-adds are those of another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convmill.design.costs import costs, total
from convmill.design.steps import design_of
from convmill.inspection.numbers import decimal
from convmill.plan.walk import walk
from convmill.runtime.host import machine
from convmill.study.arms import anew
from convmill.study.errors import StudyError

WIDTHS = ("filters", "units")  # what Keras' layers call the number of their outputs
NARROWEST, WIDEST = 1 / 64, 64.0
STEPS = 24  # of the bisection: a factor is found to one in a million
CLOSE_ENOUGH = 0.05  # a match that is further off is none
NAMES = {"parameters": "parameters", "multiply_adds": "multiply-adds"}


@dataclass(frozen=True)
class Sizes:
    """Parameters of a model, and multiply-adds of one image forward, None where not known."""

    parameters: int
    multiply_adds: int | None


@dataclass(frozen=True)
class Matched:
    """By which factor widths were scaled, and that in words."""

    factor: float
    words: str


def sizes_of(model: Any) -> Sizes:
    """The sizes of a built model."""
    try:
        design = design_of(model, None)
        summed = total(design, costs(design, machine()))
    except ValueError:
        return Sizes(model.count_params(), None)
    return Sizes(model.count_params(), summed.forward if summed.counted else None)


def scaled(model: Any, factor: float, *, empty: bool = False) -> Any:
    """A model like ``model`` whose inner layers have ``factor`` times as many filters and units.

    What the model gives out keeps its width. Equal widths stay equal, so that branches still add
    up. The new model has its own weights, and is compiled as ``model`` is; ``empty``, its weights
    are zeros, which are made faster than drawn.
    """
    kept = _last_layers(model)
    config = _scaled_config(model.get_config(), factor, kept, "")
    if empty:
        config = _with_zeros(config)
    return anew(model, config)


def match(model: Any, figure: str, wanted: int, where: str) -> Matched:
    """The factor by which ``scaled`` brings a model's ``figure`` nearest to ``wanted``.

    Raises:
        StudyError: no factor comes within 5 %; the model cannot be scaled.
    """

    known: dict[str, int] = {}  # by the widths that a factor comes to

    def figure_at(factor: float) -> int:
        widths = repr(_scaled_config(model.get_config(), factor, kept, ""))
        if widths not in known:
            found = getattr(sizes_of(scaled(model, factor, empty=True)), figure)
            if found is None:
                raise StudyError(f"{where}: its {NAMES[figure]} are not known: it has no match.")
            known[widths] = int(found)
        return known[widths]

    try:
        kept = _last_layers(model)
        factor, found = _nearest(figure_at, wanted)
    except StudyError:
        raise
    except (ValueError, TypeError, NotImplementedError) as error:
        raise StudyError(f"{where}: its widths cannot be scaled. {error}") from error
    off = found / wanted - 1
    if abs(off) > CLOSE_ENOUGH:
        raise StudyError(
            f"{where}: no widths give {wanted:,} {NAMES[figure]}; the nearest are {found:,} with "
            f"widths x {factor:.3g}."
        )
    words = f"widths x {factor:.3g}: {found:,} {NAMES[figure]} for {wanted:,} ({_off(off)})"
    return Matched(factor, words)


def _off(share: float) -> str:
    return f"{decimal(100 * share, 1, '+')} %"


def _nearest(figure_at: Callable[[float], int], wanted: int) -> tuple[float, int]:
    """Bisection on the logarithm of the factor; of all that were tried the nearest, which is the
    one nearest to 1 where several are as near."""
    tried: list[tuple[float, int]] = [(1.0, figure_at(1.0))]
    low, high = math.log(NARROWEST), math.log(WIDEST)
    low, high = (low, 0.0) if tried[0][1] >= wanted else (0.0, high)
    for _ in range(STEPS):
        middle = (low + high) / 2
        found = figure_at(math.exp(middle))
        tried.append((math.exp(middle), found))
        if found == wanted:
            break
        low, high = (middle, high) if found < wanted else (low, middle)
    return min(tried, key=lambda one: (abs(one[1] - wanted), abs(math.log(one[0]))))


def _last_layers(model: Any) -> set[str]:
    """The layers with a width that no other such layer stands behind, by their names in the walk:
    "inner/layer" for those of models inside the model."""
    walked = walk(model)
    by_name = {call.name: call for call in walked.calls}
    open_calls, found = list(walked.outputs), set()
    while open_calls:
        call = by_name[open_calls.pop()]
        if any(hasattr(call.layer, width) for width in WIDTHS):
            found.add(call.name)
        else:
            open_calls.extend(call.inputs)
    return found


def _scaled_config(
    config: dict[str, Any], factor: float, kept: set[str], prefix: str
) -> dict[str, Any]:
    layers = []
    for layer in config["layers"]:
        inner = dict(layer["config"])
        name = f"{prefix}{inner.get('name', '')}"
        if "layers" in inner:
            inner = _scaled_config(inner, factor, kept, f"{name}/")
        elif name not in kept:
            for width in WIDTHS:
                if isinstance(inner.get(width), int):
                    inner[width] = _width(inner[width], factor, inner.get("groups") or 1)
        known = {key: value for key, value in layer.items() if key != "build_config"}  # its shape
        layers.append({**known, "config": inner})
    return {**config, "layers": layers}


def _with_zeros(config: Any) -> Any:
    """A layer's or a model's configuration with zeros for every initializer in it."""
    if isinstance(config, list):
        return [_with_zeros(one) for one in config]
    if not isinstance(config, dict):
        return config
    return {
        key: "zeros" if value and key.endswith("_initializer") else _with_zeros(value)
        for key, value in config.items()
    }


def _width(width: int, factor: float, groups: int) -> int:
    return groups * max(1, round(width * factor / groups))
