"""What other libraries say, in one line that a user can read."""

import pytest

from convmill.reasons import LONGEST, reason_of


class Thing:
    pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("too\n  long"), "too long"),
        (ValueError(), "ValueError"),
        (KeyError("layers"), "there is no 'layers'"),
        (KeyError("Unable to open object (bad heap)"), "Unable to open object (bad heap)"),
        (ValueError(f"malformed node: {Thing()!r}"), "malformed node: Thing"),
        (TypeError(f"{[Thing(), 3]} is no list"), "[Thing, 3] is no list"),
        (ValueError("x" * 2 * LONGEST), "x" * LONGEST + " ..."),
    ],
)
def test_it_is_one_line_without_addresses(error, words):
    assert reason_of(error) == words
