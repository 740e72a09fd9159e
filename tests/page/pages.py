"""Small pages, and what a page holds."""

from __future__ import annotations

from base64 import b64decode
from functools import partial
from html.parser import HTMLParser

from convmill.inspection.document import Column, Table
from convmill.page.document import Download, Listing, Page, Section
from convmill.page.drawings import figure
from convmill.view.learning_curves import learning_curves
from convmill.view.reliability import reliability
from tests.view.classifiers import echo, random_case

HISTORY = {"loss": [0.5, 0.2, 0.1], "val_loss": [0.4, 0.3, 0.35]}
WIDE = Table(
    (Column("layer", right=False), *(Column(f"figure\nnumber {place}") for place in range(12))),
    (("a<b&'\"", *("1,234,567",) * 12), ("second", *("2",) * 12)),
)


def sample() -> Page:
    """A page with everything: wide and narrow pictures, a wide table, long words, markup."""
    probabilities, labels = random_case(60, 3)
    sections = (
        Section(
            "First <section>",
            (
                figure(partial(learning_curves, HISTORY), "curves & more", "It's <b>"),
                "A paragraph, and a long word: " + "m" * 200,
            ),
        ),
        Section(
            "Second",
            (
                figure(partial(reliability, echo(3), probabilities, labels), "bins", narrow=False),
                Listing("A <wide> table", WIDE),
            ),
        ),
    )
    how = (("Command", "convmill train --data " + "x" * 120 + " --seed 1"), ("Seed", "1"))
    downloads = (Download("a.csv", "epoch,loss\n1,0.5\n"), Download("ü'.json", '{"é": 1}'))
    return Page("A <title>", "Does it?", "It's 99 % & more.", sections, how, downloads)


EMPTY = {"meta", "link", "img"}  # elements that nothing ends


class Elements(HTMLParser):
    """Tags with their attributes, in order; text by the tag that it stands in."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.text.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]

    def texts(self, tag: str) -> list[str]:
        return [text for name, text in self.text if name == tag]

    def downloads(self) -> dict[str, str]:
        """Text of each file that the page carries, by its name."""
        return {link["download"]: content(link["href"]) for link in self.all("a")}


def content(address: str) -> str:
    head, _, data = address.partition(",")
    assert head.startswith("data:")
    assert head.endswith(";base64")
    return b64decode(data).decode()
