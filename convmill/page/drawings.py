"""From pictures of ``convmill.view`` to figures of a page."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

from convmill.page.document import Drawing, Figure
from convmill.view.style import SHOWN_DPI, Picture


def figure(
    draw: Callable[..., Picture], alternative: str, caption: str = "", *, narrow: bool = True
) -> Figure:
    """A figure of what ``draw(dark=...)`` draws, and for phones of ``draw(dark=..., narrow=True)``
    unless it draws nothing ``narrow``."""
    small = _drawing(partial(draw, narrow=True)) if narrow else None
    return Figure(_drawing(draw), alternative, caption, small)


def _drawing(draw: Callable[..., Picture]) -> Drawing:
    light, dark = draw(dark=False), draw(dark=True)
    width, height = (round(inches * SHOWN_DPI) for inches in light.get_size_inches())
    return Drawing(_svg(light), _svg(dark), width, height)


def _svg(picture: Picture) -> bytes:
    content = io.BytesIO()
    picture.savefig(content, format="svg")
    return content.getvalue()
