"""``convmill.callbacks.Checkpoint``: what the user asks for. ``keeper.py`` does it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from convmill.every import read_every
from convmill.kinds import check_path
from convmill.whole import check_whole


class Checkpoint(keras.callbacks.Callback):
    """Writes all of a training's state while it runs, and goes on from there in the next process.

    A run that was killed, and is started again with the same arguments and the same folder, goes
    on from the newest checkpoint and ends with the same bits, the same History and the same logs
    as one that was not. What is kept: weights, the optimizer's state, random states (NumPy's,
    Python's, Keras'), the place in the epoch's order, what metrics have counted, History, and what
    other callbacks hold. SIGTERM and Ctrl-C write a last one.

    Other data are refused: arrays by checksums, of large ones of a part; of a ``PyDataset`` the
    name and the number of batches are compared, and no more.

    A folder is for one call of ``fit``. It may lie anywhere; nothing in its files is code.

    Args:
        directory: the folder, which is made if it is not there.
        every: ``"60s"``, ``"5min"``, ``"1h"`` or ``"100 steps"``.
        keep: how many checkpoints stay, the newest ones.

    Raises:
        TypeError: ``directory`` is no path.
        ValueError: ``every`` or ``keep`` makes no sense. In ``fit``: another run uses the folder,
            what is in it is of another run, or the data cannot be wound back.
    """

    def __init__(
        self, directory: str | os.PathLike[str], every: str = "60s", keep: int = 2
    ) -> None:
        super().__init__()
        check_path("directory", directory, "the folder of the checkpoints")
        self.directory = Path(directory)
        self.every = read_every(every)
        self.keep = check_whole("keep", keep, 1)
        self.kept_by: Any = None  # the keeper of the fit at hand

    def on_train_begin(self, logs: Any = None) -> None:
        """Sees to it that somebody keeps checkpoints."""
        if self.kept_by is None:
            raise ValueError(
                "Checkpoint keeps what convmill trains, and Keras trains this model. Use "
                "keras.callbacks.BackupAndRestore, or see convmill.accelerate and "
                f"convmill.explain. Received: Checkpoint({str(self.directory)!r})"
            )
