"""What becomes of a case: it is right, it is refused by a clear error, or it is a fault."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

RIGHT, REFUSED, FAULT = "right", "refused", "fault"
# Errors that a user may be told, by name; all others are what happens to us.
KINDS = {"ValueError", "TypeError", "OSError", "NotCovered", "DataError", "ClickException"}
# Words that no user can do anything with.
INTERNAL = re.compile(r"LLVM|Traceback|object at 0x|<function|jaxlib|XlaRuntime|INTERNAL:")
# Whose code may say what is wrong: another library does not know the user's arguments.
OURS = ("convmill", "keras", "click")


class Result(NamedTuple):
    """Of one case: what was tried, for the table, and what came of it."""

    what: str
    outcome: str


Case = Callable[[int], Result]


class Fault(Exception):
    """What no user may meet: what was tried, and all that tells how it came about."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(text)
        self.what = what


def refused(error: BaseException, what: str, told: object) -> Result:
    """The result where an error was raised. Fault where that is no clear one."""
    if problem := unclear(error):
        last = "".join(traceback.format_exception(error, limit=-6))
        raise Fault(what, f"{problem}: {told}\n{last}") from error
    return Result(what, REFUSED)


def unclear(error: BaseException) -> str:
    """Why an error says too little to a user; nothing where it is clear."""
    text = str(getattr(error, "message", error))
    if not KINDS & {one.__name__ for one in type(error).__mro__}:
        return f"an internal error, {type(error).__name__}"
    module = _raised_in(error)
    if len(text) < 10 or (INTERNAL.search(text) and not module.startswith("keras.")):
        return "an error without words"
    return "" if module.partition(".")[0] in OURS else f"raised in {module}"


def _raised_in(error: BaseException) -> str:
    """The module in which an error arose."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__")) if trace is not None else "nowhere"


def expect(holds: Any, text: object) -> None:
    """Fault unless it holds."""
    if not holds:
        raise Fault("", str(text))
