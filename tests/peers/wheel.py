"""A pytest plugin: what Keras' tests import and the keras wheel does not hold.

Keras' repository has a ``conftest.py`` beside its sources, and some tests import
``skip_if_backend`` from it. The runs of plain Keras use this plugin as well.
"""

from __future__ import annotations

import sys
import types

import keras
import pytest


def skip_if_backend(backend: str, reason: str) -> pytest.MarkDecorator:
    """Skips a test where Keras runs on ``backend``."""
    return pytest.mark.skipif(keras.backend.backend() == backend, reason=reason)


def pytest_configure(config: pytest.Config) -> None:
    """Puts the stand-in where an import finds it."""
    stand_in = types.ModuleType("conftest")
    vars(stand_in)["skip_if_backend"] = skip_if_backend
    sys.modules.setdefault("conftest", stand_in)
    config.addinivalue_line("markers", "requires_trainable_backend: Keras' own, always met here")
