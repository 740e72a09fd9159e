"""Lists of names on the command lines of the benchmarks."""

import difflib
from collections.abc import Iterable

import click


class Names(click.ParamType[list[str]]):
    """A comma-separated list out of known names, or "all"."""

    name = "NAME,..."

    def __init__(self, known: Iterable[str]) -> None:
        self.known = list(known)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        if value == "all":
            return self.known
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        for name in names:
            if name not in self.known:
                near = difflib.get_close_matches(name, self.known, 1, 0)[0]
                self.fail(
                    f"unknown name. Received: {name!r}. Did you mean {near!r}? "
                    f"Known: {', '.join(self.known)}."
                )
        if not names:
            self.fail("no name given")
        return list(dict.fromkeys(names))


def choice(names: Iterable[str]) -> str:
    """What may be given, in words."""
    return f'"all", or some of {", ".join(names)}.'
