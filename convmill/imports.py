"""Opening the third door without importing Keras: as soon as the user's code does, and not before.

So a script may still choose Keras' backend, and one that never imports Keras pays nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from convmill import keras_datasets


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Finds the package ``keras`` as others would, and has it patched once it is there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "keras":
            return None
        # Not every search is followed by an import: TensorFlow only asks whether Keras is there.
        others = [finder for finder in sys.meta_path if not isinstance(finder, _KerasFinder)]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Patching(spec.loader)
        return spec


class _Patching(importlib.abc.Loader):
    """Loads as the loader that it wraps does, then installs."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        module.__loader__ = self.loader
        _forget()
        _install()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def install_with_keras() -> None:
    """Lets every Keras model run compiled, and ``keras.datasets`` look where ours do: now, or as
    soon as Keras is imported.
    """
    if "keras" in sys.modules:
        _install()
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


def uninstall_with_keras() -> None:
    """Undoes ``install_with_keras``."""
    _forget()
    if "keras" in sys.modules:
        from convmill.train.doors import uninstall

        uninstall()
        keras_datasets.uninstall()


def _forget() -> None:
    """Takes our finder away."""
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _KerasFinder)]


def _install() -> None:
    from convmill.train.doors import install

    install()
    keras_datasets.install()
