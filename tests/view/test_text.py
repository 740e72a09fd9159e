"""Names and figures as they are written in pictures."""

from __future__ import annotations

import pytest

from convmill.view.text import percent, shown


def test_names_as_they_are_shown():
    assert shown("a" * 30, 10) == "a" * 9 + "\N{HORIZONTAL ELLIPSIS}"
    assert shown("a\nb\x1b") == "a?b?"
    assert shown("5$ or 6$") == "5$ or 6$"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (1, "100.0 %"), (0.5, "50.0 %"), (0.99951, ">99.9 %"), (1e-9, "<0.1 %")],
)
def test_percentages_round_to_neither_none_nor_all(share, text):
    assert percent(share).replace("\N{NARROW NO-BREAK SPACE}", " ") == text
