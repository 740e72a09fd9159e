"""The command line as a shell sees it, in this process."""

from __future__ import annotations

import contextlib
import io
import traceback
from typing import NamedTuple

from tests.robust.fuzz.outcomes import INTERNAL, REFUSED, RIGHT, Fault

CODES = (0, 1, 2)


class Printed(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Printed:
    """Runs a command line. Fault where it ends in a traceback."""
    from convmill.cli import main

    given = [str(one) for one in arguments]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(given)
    except BaseException as error:
        told = "".join(traceback.format_exception(error, limit=-8))
        raise Fault("", f"a traceback: convmill {' '.join(map(repr, given))}\n{told}") from error
    return Printed(code, out.getvalue(), err.getvalue())


def outcome(*arguments: object) -> str:
    """Whether a command did what it was asked, or refused it in words. Fault where neither."""
    code, out, err = run(*arguments)
    told = f"convmill {' '.join(repr(str(one)) for one in arguments)}\n{err[-2000:]}"
    if code not in CODES or "Traceback" in out + err:
        raise Fault("", f"exit code {code}: {told}")
    if code == 0:
        return RIGHT
    words = err.partition("Error: ")[2]
    if len(words) < 10 or INTERNAL.search(words):
        raise Fault("", f"no clear error: {told}")
    return REFUSED
