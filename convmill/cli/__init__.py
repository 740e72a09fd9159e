"""The command line, ``convmill``: this package only reads arguments and prints results."""

from convmill.cli.app import main

__all__ = ["main"]
