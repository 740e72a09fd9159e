"""Which files of the user's a model is written in: what its configuration does not say."""

from __future__ import annotations

import ast
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib.util import resolve_name
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from convmill.backends import BACKENDS

# Their versions are kept with each run; a change in them is no change of the study.
OTHERS = frozenset({"keras", "convmill", "jaxlib", *BACKENDS, *sys.stdlib_module_names})
INSTALLED = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]


def sources_of(model: Any) -> dict[str, str]:
    """The text of each file that the classes and functions of a model come from, Keras' and
    convmill's left out, and of the modules that these files import and that are not installed; by
    the modules' names.

    Layers, losses, metrics, optimizer, and what they hold, are looked through.
    """
    names = {each.__module__ for found in _held(model) for each in _written(found)}
    waiting, found = [name for name in names if _is_own(name)], {}
    while waiting:
        name = waiting.pop()
        path = None if name in found else _file(name)
        if path is None:
            continue
        found[name] = path.read_text(encoding="utf-8")
        imported = _imported(sys.modules[name], found[name])
        waiting += [one for one in imported if _is_own(one, installed=False)]
    return found


def _held(model: Any) -> Iterator[Any]:
    """The model, and all that it holds, however deep; each once."""
    waiting, seen = [model], {}
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one  # kept, so that no other object gets its id
        yield one
        waiting += _inside(one)


def _inside(one: Any) -> Iterable[Any]:
    """What an object holds; arrays and what is of other packages are not looked into."""
    if isinstance(one, Mapping):
        return one.values()
    if isinstance(one, list | tuple | set | frozenset):
        return one
    if isinstance(one, partial):
        return (one.func, *one.args, *one.keywords.values())
    if isinstance(one, MethodType):
        return (one.__func__, one.__self__)
    if isinstance(one, FunctionType):
        cells = [cell.cell_contents for cell in one.__closure__ or () if _is_full(cell)]
        return (*cells, *(one.__defaults__ or ()))
    module = type(one).__module__
    if not (_is_own(module) or module.partition(".")[0] == "keras"):
        return ()
    return getattr(one, "__dict__", {}).values()


def _is_full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _written(one: Any) -> Iterable[Any]:
    """What was written for an object: a function itself, else its class and those behind it."""
    if isinstance(one, FunctionType):
        return (one,)
    return inspect.getmro(one if isinstance(one, type) else type(one))


def _is_own(module: str, installed: bool = True) -> bool:
    """Whether a module is the user's: ``installed`` packages count too where that is asked for."""
    if not module or module.partition(".")[0] in OTHERS:
        return False
    path = _file(module)
    return path is not None and (installed or not _is_installed(path))


def _file(module: str) -> Path | None:
    """The Python file of a module that is loaded; None where it has none."""
    name = getattr(sys.modules.get(module), "__file__", None)
    path = Path(name) if name else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def _is_installed(path: Path) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in INSTALLED)


def _imported(module: ModuleType, text: str) -> Iterator[str]:
    """The names of the modules that a module's text imports; some may be no modules."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = f"{'.' * node.level}{node.module or ''}"
            if node.level:
                try:
                    name = resolve_name(name, module.__package__ or "")
                except ImportError:  # what is written somewhere need not be run
                    continue
            yield name
            yield from (f"{name}.{one.name}" for one in node.names)
