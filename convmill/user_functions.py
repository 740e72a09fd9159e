"""Functions of users' scripts, as far as a script's text tells of them without being run."""

from __future__ import annotations

import re
import symtable
from importlib.util import decode_source
from pathlib import Path

from convmill.failure import Failure, nearest

FEW = 6  # functions of a script that are listed where another is asked for
# What gives a module names that its text does not tell.
_BEYOND = re.compile(
    r"import\s*\*|__getattr__|__dict__|\b(exec|eval|globals|locals|vars|setattr|modules)\b"
)


def no_function(path: Path, name: str, functions: list[str]) -> Failure:
    """What to say where a script that defines ``functions`` has none of that name."""
    listed = ""
    if len(functions) <= FEW:
        listed = f" It defines {', '.join(functions) or 'none'}."
    return Failure(f"{path} has no function '{name}'.{nearest(name, functions)}{listed}")


def check_function(source: str) -> None:
    """Raises Failure where ``source`` is ``script.py:function`` and the script cannot have that
    function. Whatever else is wrong is told where the script is run."""
    script, _, name = source.rpartition(":")
    if not script.endswith(".py"):
        return
    try:
        text = decode_source(Path(script).read_bytes())
        table = symtable.symtable(text, script, "exec")
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    if not _BEYOND.search(text) and not _binds(table, name):
        raise no_function(Path(script), name, _functions(table))


def _binds(table: symtable.SymbolTable, name: str) -> bool:
    """Whether a module gives anything that name, be it in a function with ``global``."""
    if name in table.get_identifiers():
        symbol = table.lookup(name)
        is_of_module = table.get_type() == "module" or symbol.is_declared_global()
        if is_of_module and (symbol.is_assigned() or symbol.is_imported()):
            return True
    return any(_binds(child, name) for child in table.get_children())


def _functions(table: symtable.SymbolTable) -> list[str]:
    """The names of the functions that a module defines, in their order."""
    spaces = (each for each in table.get_symbols() if each.is_namespace())
    return [
        each.get_name()
        for each in spaces
        if any(space.get_type() == "function" for space in each.get_namespaces())
    ]
