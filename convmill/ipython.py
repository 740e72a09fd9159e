"""What programs expect of IPython, for machines where it is not installed: it prints text.

``install`` is for programs that the third door runs. Modules here know no more of IPython than what
notebooks use: ``display`` and what it shows, ``clear_output``, ``get_ipython``.
"""

from __future__ import annotations

import html
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence
from types import FrameType, ModuleType
from typing import Any

from convmill.magics import is_python_under, plain_line, plain_python
from convmill.printing import say

PACKAGE = "IPython"


class Shell:
    """Stands for the shell that ``get_ipython()`` returns; false, as None is outside a notebook."""

    def __init__(self, namespace: dict[str, Any], pass_over: Callable[[str], None]) -> None:
        self.user_ns, self.pass_over = namespace, pass_over
        self.config: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return False

    def run_line_magic(self, magic_name: str, line: str, *_: Any) -> Any:
        """Does what the magic does, where that can be done."""
        return self._run(plain_line(f"%{magic_name} {line}".strip(), self.pass_over))

    def magic(self, arg_s: str) -> Any:
        """The same, as one text."""
        return self._run(plain_line(f"%{arg_s}".strip(), self.pass_over))

    def run_cell_magic(self, magic_name: str, line: str, cell: str) -> Any:
        """Runs the cell where it is Python."""
        if is_python_under(magic_name):
            return self._run(plain_python(cell, self.pass_over))
        return self.pass_over(f"%%{magic_name} {line}".strip())

    def run_cell(self, raw_cell: str, *_: Any, **__: Any) -> Any:
        """Runs code."""
        return self._run(plain_python(raw_cell, self.pass_over))

    def system(self, cmd: str) -> None:
        """Passes over a command for the system's shell."""
        self.pass_over(f"!{cmd}")

    def getoutput(self, cmd: str, *_: Any, **__: Any) -> list[str]:
        """Passes over a command for the system's shell: no lines."""
        self.pass_over(f"!{cmd}")
        return []

    def _run(self, python: str) -> Any:
        try:
            code = compile(python, "<magic>", "eval")
        except SyntaxError:
            code = compile(python, "<magic>", "exec")
        return eval(code, self.user_ns)


class Shown:
    """Something that a notebook would show: a picture, a formula, HTML. Here its text is shown."""

    def __init__(self, data: Any = None, *_: Any, filename: Any = None, **options: Any) -> None:
        self.data, self.filename = data, filename
        self.url = options.get("url")

    def __repr__(self) -> str:
        source = self.filename or self.url
        if source is None and isinstance(self.data, str):
            return self._text(self.data)
        return f"<{type(self).__name__}{'' if source is None else f': {source}'}>"

    def _text(self, data: str) -> str:
        return data


class HTML(Shown):
    """Shown without its tags."""

    def _text(self, data: str) -> str:
        return html.unescape(re.sub(r"<[^>]*>", "", data)).strip()


class Handle:
    """What ``display(..., display_id=True)`` returns."""

    def __init__(self, display_id: Any) -> None:
        self.display_id = display_id

    def display(self, *things: Any, **_: Any) -> None:
        """Shows anew."""
        display(*things)

    update = display


def display(*objs: Any, display_id: Any = None, **_: Any) -> Handle | None:
    """Prints what a notebook would show."""
    for each in objs:
        say(repr(each), sys.stdout)
    return Handle(display_id) if display_id else None


def nothing(*_: Any, **__: Any) -> None:
    """Takes the place of what has no meaning outside a notebook, such as ``clear_output``."""


def install(shell: Shell) -> None:
    """Lets ``import IPython`` find what stands here, where nothing else is found."""
    if importlib.util.find_spec(PACKAGE) is None:
        sys.meta_path.append(_Finder(shell))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the modules of IPython that programs import most."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        core = {"get_ipython": lambda: shell, "display": display}
        self.modules: dict[str, dict[str, Any]] = {
            PACKAGE: {**core, "__version__": "0", "version_info": (0, 0, 0, "")},
            f"{PACKAGE}.display": {},
            f"{PACKAGE}.core": {},
            f"{PACKAGE}.core.display": {},
            f"{PACKAGE}.core.display_functions": {},
            f"{PACKAGE}.core.getipython": core,
            f"{PACKAGE}.core.interactiveshell": {"InteractiveShell": Shell},
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.modules or not _program_asks():
            return None
        inner = any(name.startswith(f"{fullname}.") for name in self.modules)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=inner)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self.modules[module.__name__])
        if module.__name__ == PACKAGE:
            say("convmill: IPython is not installed; what notebooks show is printed.", sys.stderr)
        elif "display" in module.__name__:
            vars(module).update(_DISPLAY, __getattr__=_shown)


def _program_asks() -> bool:
    """Whether the import stands in the program, or in a file beside it; libraries that ask for
    IPython want to know whether they run in a notebook, and they do not."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename == __file__ or "importlib" in frame.f_code.co_filename
    ):
        frame = frame.f_back
    if frame is None:
        return False
    file = os.path.realpath(frame.f_code.co_filename)
    beside = file.startswith(os.path.join(sys.path[0], "")) and "site-packages" not in file
    return beside or frame.f_globals.get("__name__") == "__main__"


_DISPLAY = {
    "display": display,
    "update_display": display,
    "HTML": HTML,
    **dict.fromkeys(("clear_output", "set_matplotlib_formats"), nothing),
}


def _shown(name: str) -> Any:
    """A class of ``IPython.display`` that is named like one: Image, SVG, Markdown, Video."""
    if not name[:1].isupper():
        raise AttributeError(f"The stand-in for IPython has no {name!r}")
    return type(name, (Shown,), {})
