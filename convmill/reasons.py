"""Why something failed, in the words of the library that it failed in: one line, for a user."""

from __future__ import annotations

import re

LONGEST = 500  # letters
_OBJECT = re.compile(r"<(?:[\w.]+\.)?(\w+) object at 0x[0-9a-fA-F]+>")
_FUNCTION = re.compile(r"<function ([\w.<>]+) at 0x[0-9a-fA-F]+>")


def reason_of(error: BaseException) -> str:
    """What an error says. A missing key is told as missing, and objects by their classes."""
    text = str(error)
    if isinstance(error, KeyError) and error.args:
        key = error.args[0]
        is_sentence = isinstance(key, str) and " " in key  # as of HDF5's errors
        text = key if is_sentence else f"there is no {key!r}"
    text = without_addresses(" ".join(text.split())) or type(error).__name__
    return text if len(text) < LONGEST else f"{text[:LONGEST]} ..."


def without_addresses(text: str) -> str:
    """A text in which objects are told by their classes, and functions by their names."""
    return _FUNCTION.sub(r"\1", _OBJECT.sub(r"\1", text))


def keras_reason(error: Exception) -> str:
    """The first line of an error that says something, without Keras' colours and introduction."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Exception encountered when calling")]
    return (said or lines or [type(error).__name__])[0]
