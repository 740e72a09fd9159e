"""``python -m convmill``: runs a script or a notebook compiled, or the command line."""

from __future__ import annotations

import sys

from convmill import script


def main() -> int:
    """Runs what the process' arguments say; the exit code."""
    arguments = sys.argv[1:]
    if arguments and script.is_program(arguments[0]):
        return script.run(arguments)
    from convmill.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
