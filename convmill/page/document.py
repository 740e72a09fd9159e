"""A page as plain data: what was asked, what came out, and how it was found."""

from __future__ import annotations

from dataclasses import dataclass

from convmill.inspection.document import Table


@dataclass(frozen=True)
class Drawing:
    """One picture as SVG, on a light and on a dark ground; its size is in CSS pixels."""

    light: bytes
    dark: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Figure:
    """A picture with what to say of it.

    ``alternative`` stands in for the picture where nobody sees it: it tells what is to be seen, as
    ``caption`` tells what it means. ``narrow`` takes its place on a phone; where there is none, the
    wide one is shown there in a box of its own that scrolls.
    """

    wide: Drawing
    alternative: str
    caption: str = ""
    narrow: Drawing | None = None


@dataclass(frozen=True)
class Listing:
    """A table under its caption; the first cell of a row names the row."""

    caption: str
    table: Table


Block = str | Figure | Listing  # a string is a paragraph


@dataclass(frozen=True)
class Section:
    """Paragraphs, pictures and tables under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Download:
    """A file that the page carries: its ``name`` ends in .csv or .json."""

    name: str
    text: str


@dataclass(frozen=True)
class Page:
    """One page. ``how`` are names and values of how it was run, in the order in which they are
    shown."""

    title: str
    question: str
    answer: str
    sections: tuple[Section, ...]
    how: tuple[tuple[str, str], ...] = ()
    downloads: tuple[Download, ...] = ()
