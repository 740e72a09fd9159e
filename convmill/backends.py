"""Which of Keras' backends to use, settled before Keras is first imported.

Keras takes TensorFlow where nothing else is said, and then cannot be imported without it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

DEFAULT = "jax"
_MODULES = {"tensorflow": "tensorflow", "torch": "torch", "jax": "jax"}


def choose() -> None:
    """Lets Keras use JAX where the backend that it would take is not installed.

    What ``KERAS_BACKEND`` says is never changed, and nothing happens once Keras is imported.
    """
    if "KERAS_BACKEND" in os.environ or "keras" in sys.modules:
        return
    module = _MODULES.get(_configured())
    if module is not None and importlib.util.find_spec(module) is None:
        os.environ["KERAS_BACKEND"] = DEFAULT


def _configured() -> str:
    """The backend that Keras' configuration file names, or Keras' own default."""
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home else Path.home() / ".keras") / "keras.json"
    try:
        return str(json.loads(path.read_text()).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"
