"""The faces in which a report is shown: terminal, Markdown, HTML, plain numbers and texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from convmill.inspection import html, markdown, terminal
from convmill.inspection.document import Document


class Report(ABC):
    """Anything that can be told as a Document: prints as a table, shows itself in notebooks."""

    @abstractmethod
    def document(self) -> Document:
        """What there is to say."""

    @abstractmethod
    def dead_ends(self) -> tuple[str, ...]:
        """A sentence for each design whose shapes come to an end: it cannot be built."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, with units in the keys, fit for JSON."""

    def markdown(self) -> str:
        """The report as Markdown, with all its columns."""
        return markdown.render(self.document())

    def _repr_html_(self) -> str:
        return html.render(self.document())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield terminal.render(self.document(), options.max_width)

    def __str__(self) -> str:
        return terminal.plain(self.document())

    __repr__ = __str__
