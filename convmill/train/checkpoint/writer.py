"""Checkpoints are written in a thread of their own, one at a time."""

from __future__ import annotations

import threading
import warnings
from typing import Any

from convmill.train.checkpoint.folder import Folder


class Writer:
    """Writes into a folder. What cannot be written is a warning: training goes on."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def is_busy(self) -> bool:
        """Whether one is being written."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, content: Any) -> None:
        """Begins to write, when what is being written is there."""
        self.wait()
        thread = threading.Thread(target=self._write, args=(content,), name="convmill checkpoint")
        try:
            thread.start()
        except RuntimeError:  # the system has no thread to give
            self._write(content)
            self._tell()
            return
        self._thread = thread

    def wait(self) -> None:
        """Waits until everything is written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._tell()

    def _write(self, content: Any) -> None:
        try:
            self._folder.write(content)
        except Exception as error:  # the training is worth more than any checkpoint
            self._error = error

    def _tell(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            warnings.warn(
                f"A checkpoint could not be written: {reason} The training goes on, and those "
                "before stay.",
                RuntimeWarning,
                stacklevel=2,
            )
