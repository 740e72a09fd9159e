"""Which of Keras' backends to use, settled before Keras is first imported.

Keras takes TensorFlow where nothing else is said, and then cannot be imported without it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from convmill.settings import keras_folder

DEFAULT = "jax"
_VARIABLE = "KERAS_BACKEND"
# Keras' backends; each needs the module of its name.
BACKENDS = ("jax", "tensorflow", "torch", "numpy", "openvino")


def choose() -> None:
    """Lets Keras use JAX where the backend that it would take is not installed.

    What ``KERAS_BACKEND`` says is never changed, and nothing happens once Keras is imported.
    """
    if os.environ.get(_VARIABLE) or "keras" in sys.modules:
        return
    name = _configured()
    if name in BACKENDS and not _is_installed(name):
        os.environ[_VARIABLE] = DEFAULT


def chosen() -> str:
    """The backend that Keras uses, or will once it is imported."""
    return os.environ.get(_VARIABLE) or _configured()


def check() -> None:
    """Raises ValueError where Keras could not be imported for want of its backend."""
    name = os.environ.get(_VARIABLE)
    where = f"{_VARIABLE}={name!r}" if name else f"backend {_configured()!r} in {_file()}"
    name = chosen()
    if name not in BACKENDS:
        raise ValueError(f"{_VARIABLE} must be one of {', '.join(BACKENDS)}. Received: {where}")
    if not _is_installed(name):
        raise ValueError(
            f"Keras' backend {name} is not installed: install {name}, or set "
            f"{_VARIABLE}={DEFAULT}. Received: {where}"
        )


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _configured() -> str:
    """The backend that Keras' configuration file names, or Keras' own default."""
    try:
        return str(json.loads(_file().read_text()).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return "tensorflow"


def _file() -> Path:
    return keras_folder() / "keras.json"
