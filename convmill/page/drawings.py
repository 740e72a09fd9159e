"""From pictures of ``convmill.view`` to figures of a page."""

from __future__ import annotations

import io
from collections.abc import Callable

from convmill.page.document import Drawing, Figure
from convmill.view.style import SHOWN_DPI, Picture


def figure(
    draw: Callable[[bool], Picture],
    alternative: str,
    caption: str = "",
    narrow: Callable[[bool], Picture] | None = None,
) -> Figure:
    """A figure of what ``draw(dark)`` draws, and for phones of what ``narrow(dark)`` draws."""
    small = None if narrow is None else _drawing(narrow)
    return Figure(_drawing(draw), alternative, caption, small)


def _drawing(draw: Callable[[bool], Picture]) -> Drawing:
    light, dark = draw(False), draw(True)
    width, height = (round(inches * SHOWN_DPI) for inches in light.get_size_inches())
    return Drawing(_svg(light), _svg(dark), width, height)


def _svg(picture: Picture) -> bytes:
    content = io.BytesIO()
    picture.savefig(content, format="svg")
    return content.getvalue()
