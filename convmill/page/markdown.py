"""A page as Markdown beside its pictures, for the documentation of a repository."""

from __future__ import annotations

from collections.abc import Iterator

from convmill.inspection.markdown import escaped, table_markdown
from convmill.page.document import Block, Figure, Listing, Page


def render(page: Page, name: str) -> dict[str, bytes]:
    """``name.md`` with its pictures, ``name-1.svg`` and so on, by their file names; no downloads.

    Pictures are the wide ones on a light ground.
    """
    pictures: dict[str, bytes] = {}
    parts = [f"# {escaped(page.title)}", f"*{escaped(page.question)}*"]
    parts.append(f"**{escaped(page.answer)}**")
    for section in page.sections:
        parts.append(f"## {escaped(section.title)}")
        for block in section.blocks:
            parts += _block(block, name, pictures)
    if page.how:
        parts.append("## How it was run")
        parts += [_fact(title, value) for title, value in page.how]
    return {f"{name}.md": ("\n\n".join(parts) + "\n").encode(), **pictures}


def _block(block: Block, name: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """The block's parts; a picture is put among ``pictures`` too."""
    if isinstance(block, Figure):
        file = f"{name}-{len(pictures) + 1}.svg"
        pictures[file] = block.wide.light
        yield f"![{escaped(block.alternative)}]({file})"
        if block.caption:
            yield escaped(block.caption)
    elif isinstance(block, Listing):
        yield f"{escaped(block.caption)}:"
        yield table_markdown(block.table)
        if block.table.legend:
            yield escaped(block.table.legend)
    else:
        yield escaped(block)


def _fact(title: str, value: str) -> str:
    """A name and its value; one of several lines is a block of its own."""
    if "\n" in value:
        return f"{escaped(title)}:\n\n```toml\n{value}\n```"
    return f"- {escaped(title)}: {escaped(value)}"
