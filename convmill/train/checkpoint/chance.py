"""The random states of a process that training draws from: NumPy's, Python's and Keras' own."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from convmill.train.attach.variables import global_seed
from convmill.train.loaded import copied


def states() -> dict[str, Any]:
    """The states of now, as plain values."""
    version, words, gauss = random.getstate()
    seed = global_seed()
    return {
        "numpy": np.random.get_state(legacy=False),
        "python": [version, np.array(words, np.uint64), gauss],
        "keras": None if seed is None else copied(seed),
    }


def restore(found: dict[str, Any]) -> None:
    """Puts back what ``states`` gave."""
    if found["keras"] is not None:
        global_seed(make=True).assign(found["keras"])  # which may draw from the others
    np.random.set_state(found["numpy"])
    version, words, gauss = found["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
