"""What other libraries say, in one line that a user can read."""

import pytest

from convmill.reasons import LONGEST, reason_of, without_addresses


class Thing:
    pass


def test_keys():
    """A function."""
    assert without_addresses(repr(test_keys)) == "test_keys"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("too\n  long"), "too long"),
        (ValueError(), "ValueError"),
        (KeyError("layers"), "there is no 'layers'"),
        (KeyError("Unable to open object (bad heap)"), "Unable to open object (bad heap)"),
        (ValueError(f"malformed node: {Thing()!r}"), "malformed node: Thing"),
        (TypeError(f"{[Thing(), 3]} is no list"), "[Thing, 3] is no list"),
        (ValueError(f"{[test_keys]} fits nothing"), "[test_keys] fits nothing"),
        (ValueError("x" * 2 * LONGEST), "x" * LONGEST + " ..."),
    ],
)
def test_it_is_one_line_without_addresses(error, words):
    assert reason_of(error) == words
