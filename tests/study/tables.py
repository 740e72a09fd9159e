"""Studies that train in no time: eight by eight pictures of two classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

COUNT, TEST = 96, 32


def write_data(folder: Path) -> Path:
    """An .npz file of pictures: the left half bright for one class, the right for the other."""
    random = np.random.default_rng(0)
    x = random.integers(0, 120, (COUNT + TEST, 8, 8), dtype=np.uint8)
    y = np.arange(COUNT + TEST, dtype=np.uint8) % 2
    x[y == 0, :, :4] += 60
    x[y == 1, :, 4:] += 60
    path = folder / "halves.npz"
    np.savez(path, x_train=x[:COUNT], y_train=y[:COUNT], x_test=x[COUNT:], y_test=y[COUNT:])
    return path


def small(folder: Path, **more: Any) -> dict[str, Any]:
    """The table of a study of two arms, two epochs and two seeds."""
    table = {
        "question": "Is a convolution better?",
        "seeds": 2,
        "data": {"name": str(write_data(folder))},
        "training": {"epochs": 2, "batch_size": 16},
        "arms": {
            "dense": {"model": "dense", "arguments": {"units": [4]}},
            "convnet": {
                "model": "notebook",
                "arguments": {"filters": [4], "dense": 4, "pooling": "none"},
            },
        },
    }
    return {**table, **more}
