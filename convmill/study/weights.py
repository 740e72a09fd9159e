"""Initial weights by the seed and the shape alone, so that arms begin alike where they can."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

SUFFIX = "_initializer"


def draw_weights(model: Any, seed: int) -> None:
    """Draws the weights of a built model anew: the k-th weight of a name, a shape and an
    initializer is the same in every model.

    It is drawn by the layer's own initializer, with a seed made of these. Weights of layers that
    do not say which initializer is whose, and those that no chance is in, stay as they are.
    """
    counts = Counter[str]()
    for layer in _layers(model):
        for weight in layer.weights:
            initializer = _initializer(layer, weight.name)
            config = initializer.get_config() if initializer is not None else {}
            if "seed" not in config:
                continue
            said = {key: value for key, value in config.items() if key != "seed"}
            kind = type(initializer).__name__
            key = f"{weight.name} {tuple(weight.shape)} {kind} {sorted(said.items())}"
            chosen = _seed(f"{seed} {key} {counts[key]}")
            counts[key] += 1
            anew = type(initializer).from_config({**config, "seed": chosen})
            weight.assign(anew(weight.shape, dtype=weight.dtype))


def _layers(model: Any) -> list[Any]:
    """Layers without layers of their own, and wrappers', each once, in the model's order."""
    found: dict[int, Any] = {}
    for layer in model.layers:
        inner = _layers(layer) if getattr(layer, "layers", None) else [layer]
        found.update((id(one), one) for one in inner)
    return list(found.values())


def _initializer(layer: Any, weight: str) -> Any:
    """The initializer of a weight: kernel_initializer of "kernel", depthwise_initializer of
    "depthwise_kernel"; None where the layer names none."""
    for name in (weight, weight.removesuffix("_kernel")):
        found = getattr(layer, name + SUFFIX, None)
        if hasattr(found, "get_config"):
            return found
    return None


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
