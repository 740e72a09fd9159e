"""A page as one HTML file that needs nothing else: no network, no script, any screen, paper.

Pictures and files to download ride in the page as ``data:`` addresses; a Content-Security-Policy
forbids every other one, so that a browser would refuse what the page must not ask for.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from html import escape

from convmill.inspection import numbers
from convmill.inspection.html import table_html
from convmill.page.document import Block, Download, Drawing, Figure, Listing, Page
from convmill.page.look import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Options of a command, which browsers break behind the first hyphen.
OPTION = re.compile(r"(?<!\S)--[\w-]+")
UNBROKEN = r"<span class='unbroken'>\g<0></span>"
LONG_ANSWER = 240  # letters; it is set in smaller ones
MEDIA_TYPES = {"csv": "text/csv", "json": "application/json"}


def render(page: Page) -> str:
    """The whole file. The same page gives the same text, which UTF-8 can hold."""
    text = "\n".join(_lines(page)) + "\n"
    return text.encode("utf-8", "replace").decode()  # names of files may hold halves of letters


def _lines(page: Page) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield "<html lang='en'>"
    yield "<head>"
    yield "<meta charset='utf-8'>"
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    yield "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    yield "<meta name='color-scheme' content='light dark'>"
    yield f"<meta name='description' content='{escape(page.answer)}'>"
    yield "<link rel='icon' href='data:,'>"  # or a browser asks the server for one
    yield f"<title>{escape(page.title)}</title>"
    yield f"<style>{STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield "<main>"
    yield f"<h1>{escape(page.title)}</h1>"
    yield f"<p class='question'>{escape(page.question)}</p>"
    long = " long" if len(page.answer) > LONG_ANSWER else ""
    yield f"<p class='answer{long}'>{escape(page.answer)}</p>"
    for section in page.sections:
        yield from _section(section.title, (_block(block) for block in section.blocks))
    if page.how:
        yield from _section("How it was run", _facts(page.how))
    if page.downloads:
        yield from _section("Raw numbers", _downloads(page.downloads))
    yield "</main>"
    yield "</body>"
    yield "</html>"


def _section(title: str, parts: Iterator[str]) -> Iterator[str]:
    yield "<section>"
    yield f"<h2>{escape(title)}</h2>"
    yield from parts
    yield "</section>"


def _block(block: Block) -> str:
    if isinstance(block, Figure):
        return _figure(block)
    if isinstance(block, Listing):
        return _listing(block)
    return f"<p>{escape(block)}</p>"


def _figure(figure: Figure) -> str:
    """All of its drawings; the style shows the one that fits.

    A ``picture`` element would choose too, but keeps its choice when the page is printed.
    """
    shown = "".join(_images(figure.wide, "wide", figure.alternative))
    if figure.narrow is None:
        shown = _scrolling(shown, f"Picture: {figure.alternative.partition('. ')[0]}")
    else:
        shown += "".join(_images(figure.narrow, "narrow", figure.alternative))
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    kind = "one-width" if figure.narrow is None else "two-widths"
    return f"<figure class='{kind}'>{shown}{caption}</figure>"


def _images(drawing: Drawing, width: str, alternative: str) -> Iterator[str]:
    for ground, svg in (("light", drawing.light), ("dark", drawing.dark)):
        yield (
            f"<img class='{width} {ground}' alt='{escape(alternative)}' "
            f"width='{drawing.width}' height='{drawing.height}' "
            f"src='{_data('image/svg+xml', svg)}'>"
        )


def _listing(listing: Listing) -> str:
    legend = f"<p class='legend'>{escape(listing.table.legend)}</p>" if listing.table.legend else ""
    table = table_html(listing.table, caption=listing.caption, named_rows=True)
    return _scrolling(table, listing.caption) + legend


def _scrolling(content: str, label: str) -> str:
    """A box that scrolls sideways where its content is wider than the screen, by keys too."""
    return (
        f"<div class='scrolls' role='region' aria-label='{escape(label)}' tabindex='0'>"
        f"{content}</div>"
    )


def _facts(facts: tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield "<dl>"
    for name, value in facts:
        yield f"<div><dt>{escape(name)}</dt><dd>{_value(value)}</dd></div>"
    yield "</dl>"


def _value(value: str) -> str:
    """What is of several lines is code."""
    if "\n" in value:
        return f"<pre><code>{escape(value)}</code></pre>"
    return OPTION.sub(UNBROKEN, escape(value))


def _downloads(downloads: tuple[Download, ...]) -> Iterator[str]:
    yield "<ul>"
    for each in downloads:
        content = each.text.encode("utf-8", "replace")
        kind = each.name.rpartition(".")[2]
        yield (
            f"<li><a download='{escape(each.name)}' href='{_data(MEDIA_TYPES[kind], content)}'>"
            f"{escape(each.name)}</a> ({kind.upper()}, {numbers.in_bytes(len(content))})</li>"
        )
    yield "</ul>"


def _data(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{b64encode(content).decode()}"
