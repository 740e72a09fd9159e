"""What is killed, and how what it leaves is looked at.

All that the kinds need is imported here, and nothing is computed by it: whoever has imported this
may be forked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.robust.kills import checkpoints, code, downloads, files, models, studies, trainings


@dataclass(frozen=True)
class Kind:
    """``write`` writes into a folder, most for ever, and yields where it may be killed from then
    on, within so many ``seconds``: those of a writing or more. ``check`` raises where what is left
    is not right. It is its turn each ``every`` times."""

    write: Callable[[Path], Iterator[None]]
    check: Callable[[Path], None]
    seconds: float = 0.3
    every: int = 1


KINDS = {
    "files": Kind(files.write, files.check),
    "checkpoints": Kind(checkpoints.write, checkpoints.check),
    "models": Kind(models.write, models.check),
    "weights": Kind(models.write_weights, models.check_weights),
    "downloads": Kind(downloads.write, downloads.check),
    "studies": Kind(studies.write, studies.check, seconds=3.0),
    # Its workers are two new Pythons each time.
    "workers": Kind(partial(studies.write, workers=2), studies.check, seconds=10.0, every=8),
    "code": Kind(code.write, code.check, seconds=0.5),
    "trainings": Kind(trainings.write, trainings.check, seconds=1.0),
}
