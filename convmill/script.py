"""The third door: runs an untouched Python script or notebook with Keras' models compiled.

The script sees what it would see under ``python script.py``: its arguments, its folder first on
``sys.path``, ``__name__ == "__main__"``; and so does who started it: exit codes and tracebacks.
"""

from __future__ import annotations

import ast
import builtins
import json
import linecache
import os
import signal
import sys
import tokenize
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from convmill.imports import install_with_keras
from convmill.printing import say

NOTEBOOK = ".ipynb"
CANNOT_OPEN = 2
RAISED = 1


@dataclass(frozen=True)
class Cell:
    """A code cell; ``name`` stands for its file in tracebacks."""

    name: str
    source: str


def is_program(argument: str) -> bool:
    """Whether a first argument of ``python -m convmill`` is a program to run."""
    return argument.endswith((".py", NOTEBOOK)) or os.path.isfile(argument)


def run(arguments: Sequence[str]) -> int:
    """Runs ``arguments[0]``, a script or a notebook, with all of them as ``sys.argv``.

    Returns:
        The exit code: 0, 1 after an exception (its traceback is printed), or 2 where the file
        cannot be read. ``SystemExit`` goes on to the caller, who leaves it to Python.
    """
    path = arguments[0]
    try:
        codes = _codes(path)
        main = _main_module(path)
    except OSError as error:
        _complain(f"can't open file {os.path.abspath(path)!r}: [Errno {error.errno}] ", error)
        return CANNOT_OPEN
    except _NotANotebook as error:
        say(f"convmill: {error}", sys.stderr)
        return CANNOT_OPEN
    sys.argv[:] = arguments
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    sys.modules["__main__"] = main
    install_with_keras()
    try:
        for code in codes:
            exec(code, vars(main))
    except SystemExit:
        raise
    except BaseException as error:
        return _report(error, notebook=path.endswith(NOTEBOOK))
    return 0


def _complain(what: str, error: OSError) -> None:
    say(f"{sys.executable}: {what}{error.strerror}", sys.stderr)


def _main_module(path: str) -> ModuleType:
    main = ModuleType("__main__")
    main.__file__ = os.path.abspath(path)
    vars(main)["__builtins__"] = builtins
    if path.endswith(NOTEBOOK):
        vars(main)["display"] = print  # what notebooks have without importing it
    return main


def _report(error: BaseException, notebook: bool) -> int:
    """Prints the traceback as Python does, without our own frames; the exit code."""
    error.__traceback__ = _without_ours(error.__traceback__)
    if notebook:
        traceback.print_exception(error)  # Python's own hook finds lines in files alone
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, KeyboardInterrupt) and os.name == "posix":
        # So a shell sees that Ctrl-C ended the program, and stops its loop.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return RAISED


def _without_ours(found: TracebackType | None) -> TracebackType | None:
    while found is not None and found.tb_frame.f_code.co_filename == __file__:
        found = found.tb_next
    return found


# Sources ----------------------------------------------------------------------------------------


def _codes(path: str) -> Iterator[CodeType]:
    """What to execute, in order. Reads the file now; compiles each piece when its turn comes."""
    if path.endswith(NOTEBOOK):
        cells = read_notebook(path)
        return (code for cell in cells for code in _compile_cell(cell))
    with open(path, "rb") as file:
        content = file.read()
    return _compile_script(content, os.path.abspath(path))


def _compile_script(content: bytes, path: str) -> Iterator[CodeType]:
    yield compile(content, path, "exec", dont_inherit=True)


class _NotANotebook(Exception):
    """The file is no notebook in a format that we read."""


def read_notebook(path: str) -> list[Cell]:
    """The code cells of a notebook, format 4.

    Raises:
        OSError: it cannot be read.
    """
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise _NotANotebook(f"{path} is no Jupyter notebook of format 4.") from error
    return [
        Cell(f"{path}[{number}]", plain_python(source, number))
        for number, source in enumerate(sources, 1)
    ]


def plain_python(source: str, number: int) -> str:
    """A cell without IPython's magics and shell commands; says which it passes over."""
    lines = source.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%%") and first.split()[0] not in ("%%time", "%%timeit", "%%capture"):
        _say_skipped(number, first)
        return ""
    kept: list[str] = []
    for line in lines:
        text = line.lstrip()
        if text.startswith(("%", "!")) and not _inside_python(kept):
            if text.split()[:2] != ["%load_ext", "convmill"] and not text.startswith("%%"):
                _say_skipped(number, text)
            line = line[: len(line) - len(text)] + "pass"
        kept.append(line)
    return "\n".join(kept) + "\n"


def _inside_python(lines: Sequence[str]) -> bool:
    """Whether a string or a bracket is still open at the end of ``lines``."""
    remaining = iter([line + "\n" for line in lines])
    try:
        for _ in tokenize.generate_tokens(lambda: next(remaining, "")):
            pass
    except (tokenize.TokenError, IndentationError) as error:
        return isinstance(error, tokenize.TokenError)
    return False


def _say_skipped(number: int, line: str) -> None:
    say(f"convmill: cell {number}: passed over {line.strip()!r}", sys.stderr)


def _compile_cell(cell: Cell) -> Iterator[CodeType]:
    """A cell's statements; the value of a last expression is shown, as in a notebook."""
    linecache.cache[cell.name] = (
        len(cell.source),
        None,
        cell.source.splitlines(keepends=True),
        cell.name,
    )
    body = ast.parse(cell.source, cell.name).body
    last: list[ast.stmt] = []
    if body and isinstance(body[-1], ast.Expr) and not cell.source.rstrip().endswith(";"):
        last = [body.pop()]
    yield compile(ast.Module(body, []), cell.name, "exec", dont_inherit=True)
    if last:
        yield compile(ast.Interactive(last), cell.name, "single", dont_inherit=True)
