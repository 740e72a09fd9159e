"""convmill compiles Keras convnets into native training programs for the CPU you have.

Three doors lead to the same engine:

    from convmill import layers, models      # Keras' own; what models makes trains compiled
    convmill.accelerate(model)               # a model that exists; convmill.restore undoes it
    python -m convmill script.py             # code that is not to be touched; %load_ext convmill

What this package does not define is Keras': ``convmill.optimizers`` is ``keras.optimizers``.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from convmill.backends import choose as _choose_backend

if TYPE_CHECKING:
    from convmill.inspection.compare import compare
    from convmill.inspection.report import inspect
    from convmill.plan.refusals import NotCovered
    from convmill.train.doors import accelerate, install, restore, uninstall
    from convmill.train.explain import explain
    from convmill.train.tune import tune

__version__ = "0.1.0"
__all__ = [
    "NotCovered",
    "accelerate",
    "compare",
    "explain",
    "inspect",
    "install",
    "restore",
    "tune",
    "uninstall",
]

_choose_backend()

# Names and where they live: nothing is imported before it is used, Keras least of all.
_OURS = {
    "NotCovered": "convmill.plan.refusals",
    "accelerate": "convmill.train.doors",
    "explain": "convmill.train.explain",
    "compare": "convmill.inspection.compare",
    "inspect": "convmill.inspection.report",
    "restore": "convmill.train.doors",
    "install": "convmill.train.doors",
    "uninstall": "convmill.train.doors",
    "tune": "convmill.train.tune",
    "Sequential": "convmill.train.models",
    "Model": "convmill.train.models",
}


def __getattr__(name: str) -> Any:
    if name in _OURS:
        found = getattr(importlib.import_module(_OURS[name]), name)
    elif name.startswith("_"):
        raise AttributeError(f"module 'convmill' has no attribute {name!r}")
    elif importlib.util.find_spec(f"convmill.{name}") is not None:
        return importlib.import_module(f"convmill.{name}")
    else:
        import keras

        if not hasattr(keras, name):
            raise AttributeError(f"Neither module 'convmill' nor 'keras' has {name!r}")
        found = getattr(keras, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_OURS, "datasets", "layers", "models", "utils"})


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext convmill``: from here on, Keras models of the notebook train compiled."""
    from convmill.imports import install_with_keras

    install_with_keras()


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext convmill``: Keras' models train as Keras trains them."""
    from convmill.imports import uninstall_with_keras

    uninstall_with_keras()
