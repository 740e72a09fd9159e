"""Ways to put convmill under Keras' tests: each takes the collected test modules by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

from tests.peers.routes import layers, losses, metrics, models, optimizers, weights

ROUTES: dict[str, Callable[[Mapping[str, ModuleType]], None]] = {
    "models": models.route_all,
    "example-model": models.route_example_model,
    "layers": layers.route,
    "losses": losses.route,
    "metrics": metrics.route,
    "optimizers": optimizers.route,
    "weights": weights.route,
}
