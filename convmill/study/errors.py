"""The one error of studies."""

from __future__ import annotations

from convmill.failure import Failure


class StudyError(Failure, ValueError):
    """A study, its data or its results cannot be used. The message says what and what would
    work."""
