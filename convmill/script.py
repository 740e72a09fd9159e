"""The third door: runs an untouched Python script or notebook with Keras' models compiled.

The script sees what it would see under ``python script.py``: its arguments, its folder first on
``sys.path``, ``__name__ == "__main__"``; and so does who started it: exit codes and tracebacks.
"""

from __future__ import annotations

import ast
import builtins
import io
import linecache
import os
import signal
import sys
import tokenize
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from convmill import ipython
from convmill.imports import install_with_keras
from convmill.magics import PassOver, plain_python
from convmill.notebook import SUFFIX as NOTEBOOK
from convmill.notebook import Cell, NotANotebook, read_notebook
from convmill.printing import say

CANNOT_OPEN = 2
RAISED = 1


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
    pass_over = PassedOver()
    try:
        content = Path(path).read_bytes()
        codes = _codes(path, content, pass_over)
    except OSError as error:
        _complain(f"can't open file {os.path.abspath(path)!r}: [Errno {error.errno}] ", error)
        return CANNOT_OPEN
    except NotANotebook as error:
        say(f"convmill: {error}", sys.stderr)
        return CANNOT_OPEN
    sys.argv[:] = arguments
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    sys.modules["__main__"] = main = _main_module(path, content, pass_over)
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


class PassedOver:
    """Says which lines of a program are passed over, each once."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, line: str) -> None:
        if line not in self.said:
            self.said.add(line)
            say(f"convmill: passed over {line!r}", sys.stderr)


def _main_module(path: str, content: bytes, pass_over: PassOver) -> ModuleType:
    main = ModuleType("__main__")
    main.__file__ = os.path.abspath(path)
    vars(main)["__builtins__"] = builtins
    shell = ipython.Shell(vars(main), pass_over)
    ipython.install(shell)
    # What notebooks have without importing it, and scripts that were made of them; but not one
    # that learns from its absence where it runs.
    if path.endswith(NOTEBOOK) or b"NameError" not in content:
        vars(main)["get_ipython"] = lambda: shell
    if path.endswith(NOTEBOOK):
        vars(main)["display"] = ipython.display
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


def _codes(path: str, content: bytes, pass_over: PassOver) -> Iterator[CodeType]:
    """What to execute, in order; each piece is compiled when its turn comes."""
    if path.endswith(NOTEBOOK):
        cells = read_notebook(path, content)
        return (code for cell in cells for code in _compile_cell(cell, pass_over))
    return _compile_script(content, os.path.abspath(path), pass_over)


def _compile_script(content: bytes, path: str, pass_over: PassOver) -> Iterator[CodeType]:
    try:
        code = compile(content, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        code = _without_magics(content, path, pass_over, error)
    yield code


def _without_magics(content: bytes, path: str, pass_over: PassOver, error: SyntaxError) -> CodeType:
    """A script in IPython's syntax; ``error`` is raised where that is not what is wrong."""
    said: list[str] = []
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        python = plain_python(content.decode(encoding), said.append)
        code = compile(python, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        raise error from None
    for line in said:
        pass_over(line)
    return code


def _compile_cell(cell: Cell, pass_over: PassOver) -> Iterator[CodeType]:
    """A cell's statements; the value of a last expression is shown, as in a notebook."""
    lines = cell.source.splitlines(keepends=True)
    linecache.cache[cell.name] = (len(cell.source), None, lines, cell.name)
    body = ast.parse(plain_python(cell.source, pass_over), cell.name).body
    last: list[ast.stmt] = []
    if body and isinstance(body[-1], ast.Expr) and not cell.source.rstrip().endswith(";"):
        last = [body.pop()]
    yield compile(ast.Module(body, []), cell.name, "exec", dont_inherit=True)
    if last:
        yield compile(ast.Interactive(last), cell.name, "single", dont_inherit=True)
