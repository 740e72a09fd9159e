"""The third door's data: ``keras.datasets.mnist`` looks where ``convmill.datasets.mnist`` does.

So an untouched program finds what lies in ``$CONVMILL_DATA``, and downloads from several mirrors.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

LoadData = Callable[..., Any]
_NAME = "load_data"


def install() -> None:
    """Puts our functions in the place of Keras', which has been imported."""
    from convmill.data.known import KNOWN_SETS

    for name in KNOWN_SETS:
        for module in _modules(name):
            original = getattr(module, _NAME)
            if not hasattr(original, "keras_load_data"):
                setattr(module, _NAME, _finding(name, original))


def uninstall() -> None:
    """Undoes ``install``."""
    from convmill.data.known import KNOWN_SETS

    for name in KNOWN_SETS:
        for module in _modules(name):
            ours = getattr(module, _NAME)
            setattr(module, _NAME, getattr(ours, "keras_load_data", ours))


def _modules(name: str) -> list[ModuleType]:
    """Keras' modules for one data set: where it is written, and under public names."""
    end = f".datasets.{name}"
    return [
        module
        for full, module in list(sys.modules.items())
        if full.startswith("keras.") and full.endswith(end) and hasattr(module, _NAME)
    ]


def _finding(name: str, original: LoadData) -> LoadData:
    """Keras' function with our search for the files; their ``path`` is a place in Keras' cache."""
    signature = inspect.signature(original)
    usual = signature.parameters["path"].default if "path" in signature.parameters else None

    @functools.wraps(original)
    def load_data(*args: Any, **kwargs: Any) -> Any:
        from convmill import datasets
        from convmill.data.sources import keras_data_folder

        given = signature.bind(*args, **kwargs).arguments
        path = given.pop("path", usual)
        cached = None if path == usual else keras_data_folder() / path
        ours = getattr(datasets, name).load_data
        return ours(**given, path=cached if cached and cached.exists() else None)

    vars(load_data)["keras_load_data"] = original
    return load_data
