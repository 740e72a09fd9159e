"""Why something is not compiled, as data and as an exception."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why something is not compiled, and what would be."""

    reason: str
    remedy: str


class NotCovered(Exception):
    """The compiler does not cover this model or its training; ``reason`` says what and why, and
    ``remedy`` what would help. Its text says both."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}. To have it compiled: {self.remedy}" if self.remedy else self.reason


class DataNotCovered(NotCovered):
    """Data that the compiler does not take, and that Keras may."""
