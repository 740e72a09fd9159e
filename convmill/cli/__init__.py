"""The command line, ``convmill``: this package only reads arguments and prints results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from convmill.cli.interrupts import INTERRUPTED, always_heard, deaf, leave, say_stopped
from convmill.printing import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line (of the process, unless ``arguments`` are given); the exit code."""
    with always_heard():
        try:
            from convmill.cli.app import run  # here, so that Ctrl-C may come as early as that

            return run(arguments)
        except KeyboardInterrupt as interrupt:
            with deaf():
                say_stopped(interrupt)
                if arguments is None:
                    leave()
                return INTERRUPTED
        except OSError as error:  # not even our own modules can be read, such as for want of files
            with contextlib.suppress(OSError, ValueError):
                say(f"Error: {error}", sys.stderr)
            return 1


__all__ = ["main"]
