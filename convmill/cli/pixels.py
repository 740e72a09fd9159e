"""``--pixels``: the range of pixels that a model reads, as text."""

from __future__ import annotations

from typing import Any

import click

End = float | list[float]


class Pixels(click.ParamType):
    """LOW..HIGH as text: -1..1, or with a number for each channel, -104,-117,-124..151,138,131."""

    name = "pixels"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[End, End]:
        """The lowest and the highest pixel, as the pictures take them; BadParameter for other
        texts."""
        try:
            low, high = map(_end, str(value).split("..", maxsplit=1))
        except ValueError:
            self.fail(
                "It must be the lowest and the highest pixel, such as -1..1, or these of each "
                f"channel, such as -104,-117,-124..151,138,131. Received: {value}",
                param,
                ctx,
            )
        return low, high


def _end(text: str) -> End:
    """A number for all channels, or a list of one for each."""
    numbers = list(map(float, text.split(",")))
    return numbers[0] if len(numbers) == 1 else numbers


pixels_option = click.option(
    "--pixels",
    type=Pixels(),
    metavar="LOW..HIGH",
    help="The range of pixels that the model reads, as -1..1, or with a number for each channel, "
    "as -104,-117,-124..151,138,131.  [default: 0..255 where the model scales them itself, "
    "else 0..1]",
)
