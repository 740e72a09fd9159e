"""From what a user can cause to one clear error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import click


class Failure(click.ClickException):
    """The command was understood and could not be done: exit code 1."""

    exit_code = 1


@contextmanager
def as_failures(where: str = "") -> Iterator[None]:
    """Turns errors about the user's data, model and arguments into Failures.

    For calls whose ValueError is about what the user gave; elsewhere it would hide a bug.
    """
    from convmill import NotCovered
    from convmill.data import DataError

    try:
        yield
    except (DataError, NotCovered, ValueError, TypeError) as error:
        raise Failure(f"{where}{error}") from error


def describe(error: OSError) -> str:
    """An OSError in words, without its number."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


def nearest(word: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"``, or nothing where no known word is near."""
    found = get_close_matches(word, list(known), n=1)
    return f" Did you mean '{found[0]}'?" if found else ""
