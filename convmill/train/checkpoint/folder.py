"""The folder of a run's checkpoints: the last few of them, and nobody else's."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from pathlib import Path
from typing import IO, Any

from convmill.train.checkpoint import archive

_NAME = re.compile(r"checkpoint-([0-9]{8,})\.zip")
_LOCK = "lock"
_in_use: set[str] = set()  # folders of this process' runs: file locks are for processes
_ended: set[str] = set()  # folders of those of its runs that came to their end


class Folder:
    """Checkpoints in ``path``, numbered as they are written; the last ``keep`` of them stay."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path, self.keep = path, keep
        self._damaged: set[int] = set()
        self._process = os.getpid()
        self._lock: IO[bytes] | None = None

    def take(self) -> None:
        """Makes the folder, and sees to it that nobody else writes there. OSError where it cannot
        be made, ValueError where another run uses it."""
        self.path.mkdir(parents=True, exist_ok=True)
        name = os.path.realpath(self.path)
        if name in _in_use:
            raise ValueError(self._in_use())
        lock = (self.path / _LOCK).open("ab")
        try:
            _lock(lock)
        except OSError as error:
            lock.close()
            raise ValueError(self._in_use()) from error
        self._lock = lock
        _in_use.add(name)

    def _in_use(self) -> str:
        return (
            "another run writes its checkpoints into this folder. Give each run a folder of its "
            f"own. Received: {self.path}"
        )

    def leave(self) -> None:
        """Others may use the folder; does nothing where that was done."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            lock.close()
            _in_use.discard(os.path.realpath(self.path))

    def end(self) -> None:
        """The run has come to its end."""
        _ended.add(os.path.realpath(self.path))

    @property
    def has_ended(self) -> bool:
        """Whether a run of this process that wrote here has come to its end."""
        return os.path.realpath(self.path) in _ended

    def newest(self) -> tuple[Path, Any] | None:
        """The newest checkpoint that is whole, and what is in it; None where there is none.

        A damaged one is passed over with a warning. ValueError where all of them are damaged.
        """
        reasons = []
        for number in sorted(self._numbers(), reverse=True):
            path = self._file(number)
            try:
                content = archive.read(path)
            except (archive.Damaged, OSError) as error:
                self._damaged.add(number)
                reasons.append(f"{path} cannot be used: {error}.")
                continue
            for reason in reasons:
                warnings.warn(f"{reason} The one before is taken, {path.name}.", stacklevel=2)
            return path, content
        if reasons:
            raise ValueError(
                f"No checkpoint in {self.path} can be used. {' '.join(reasons)} Give another "
                "folder to begin anew."
            )
        return None

    def write(self, content: Any) -> Path:
        """Writes the next checkpoint, and removes those that are too old. OSError where it cannot
        be written: those before stay."""
        if self._process != os.getpid():
            raise OSError(f"{self.path} belongs to the process that this one was forked from.")
        numbers = self._numbers()
        path = self._file(max(numbers, default=0) + 1)
        archive.write(path, content)
        whole = sorted(numbers - self._damaged, reverse=True)
        for number in {*whole[self.keep - 1 :], *self._damaged}:
            with contextlib.suppress(OSError):
                self._file(number).unlink(missing_ok=True)
        return path

    def _file(self, number: int) -> Path:
        return self.path / f"checkpoint-{number:08}.zip"

    def _numbers(self) -> set[int]:
        found = map(_NAME.fullmatch, os.listdir(self.path)) if self.path.is_dir() else ()
        return {int(one[1]) for one in found if one is not None}


def _lock(file: IO[bytes]) -> None:
    """Locks a file until it is closed, or its process ends. OSError where another one has it."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
