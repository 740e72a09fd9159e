"""HDF5 files that have no checksum, as Keras writes them.

There are damaged ones with which HDF5's library never comes to an end, or ends its process: so
another process reads them first.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HANG = 30  # seconds, for what takes a few milliseconds
_WALK = Path(__file__).with_name("hdf5_walk.py")
_PYTHON_FAILED = 1  # as where it finds no h5py
_ALARM = -14  # its own alarm has ended it


def check_readable(path: Path) -> None:
    """ValueError where HDF5's library cannot be trusted with a file. Where no process can be
    started, nothing is known, and nothing said."""
    command = [sys.executable, "-I", str(_WALK), str(path), str(HANG)]
    try:
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=HANG,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        code = _ALARM
    except OSError:
        return
    if code == _ALARM:
        raise ValueError(f"The file is damaged: HDF5's library has not ended in {HANG} seconds.")
    if code not in (0, _PYTHON_FAILED):
        raise ValueError(f"The file is damaged: HDF5's library broke down over it (code {code}).")
