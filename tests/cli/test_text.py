"""Lines for narrow terminals."""

from __future__ import annotations

import pytest

from convmill.cli.text import wrapped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("", ""),
        ("one two three four", "one two\n  three\n  four"),
        ("  one two three", "  one two\n    three"),
        ("one\n\ntwo", "one\n\ntwo"),
        ("a-name-that-is-long", "a-name-that-is-long"),
    ],
)
def test_lines_break_between_words(text, expected):
    assert wrapped(text, 9) == expected
