"""IPython's own syntax as plain Python, line by line, so that tracebacks name the right lines.

Magics that time or set something keep their meaning; the others, shell commands and questions
(``model?``) mean nothing outside a notebook, and are passed over.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Callable, Sequence

PassOver = Callable[[str], None]  # is told each line that is left out

_TIMING = ("time", "timeit", "prun")  # what follows on their line is Python
_PYTHON = (*_TIMING, "capture")  # and so are cells under these
_MAGIC = re.compile(r"%{1,2}(\w+)\s*(.*)", re.DOTALL)
_ASSIGNED = re.compile(r"([A-Za-z_][\w.,\s]*=\s*)([%!].*)", re.DOTALL)
_QUESTION = re.compile(r"\?{1,2}\s*%{0,2}[\w.*]+|%{0,2}[\w.*]+\s*\?{1,2}")
_OPTIONS = re.compile(r"(-\w+\s*\d*(\s+|$))*")  # of timing: -n 10 -r3 -q


def plain_python(source: str, pass_over: PassOver) -> str:
    """A cell or a script with as many lines, all of them Python."""
    lines = re.split("\r\n|\r|\n", source)  # as Python does; splitlines knows more ends
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%%") and not is_python_under(first[2:]):
        pass_over(first)
        return ""
    kept: list[str] = []
    goes_on = False  # whether a line that is passed over continues
    for line in lines:
        indent, text = line[: len(line) - len(line.lstrip())], line.strip()
        if goes_on:
            goes_on = text.endswith("\\")
            kept.append("")
        elif _is_foreign(text) and not _inside_python(kept):
            kept.append(indent + plain_line(text, pass_over))
            goes_on = text.endswith("\\") and not kept[-1].endswith("\\")
        else:
            kept.append(line)
    return "\n".join([*kept, ""])


def is_python_under(magic: str) -> bool:
    """Whether a cell is Python under the magic ``magic``, such as ``time``."""
    return (magic.split() or [""])[0] in _PYTHON


def plain_line(text: str, pass_over: PassOver) -> str:
    """One line of IPython's syntax as Python; ``pass`` for one that is passed over."""
    assigned = _ASSIGNED.fullmatch(text)
    target, command = assigned.groups() if assigned else ("", text)
    python = _magic(command)
    if python is None:
        pass_over(text)
        python = "None" if target else "pass"
    return target + python


def _is_foreign(text: str) -> bool:
    return text.startswith(("%", "!")) or any(
        form.fullmatch(text) for form in (_ASSIGNED, _QUESTION)
    )


def _magic(command: str) -> str | None:
    """What a magic does, as Python, or None where it does nothing that could be done here."""
    found = _MAGIC.fullmatch(command)
    if found is None:
        return None
    name, rest = found[1], found[2].strip()
    if name in _TIMING:
        return _OPTIONS.sub("", rest, count=1) or "pass"
    if name == "capture":
        return "pass"
    if name in ("load_ext", "reload_ext", "unload_ext") and rest == "convmill":
        verb = "unload" if name == "unload_ext" else "load"
        return f"__import__('convmill').{verb}_ipython_extension(None)"
    if name in ("env", "set_env"):
        variable, given, value = rest.replace(" ", "=", "=" not in rest).partition("=")
        return f"__import__('os').environ[{variable!r}] = {value!r}" if given else None
    if name == "cd" and rest:
        folder = rest.removeprefix("-q ").strip("'\" ")
        return f"__import__('os').chdir(__import__('os').path.expanduser({folder!r}))"
    return None


def _inside_python(lines: Sequence[str]) -> bool:
    """Whether a string or a bracket is still open at the end of ``lines``."""
    remaining = iter([line + "\n" for line in lines])
    try:
        for _ in tokenize.generate_tokens(lambda: next(remaining, "")):
            pass
    except (tokenize.TokenError, IndentationError) as error:
        return isinstance(error, tokenize.TokenError)
    return False
