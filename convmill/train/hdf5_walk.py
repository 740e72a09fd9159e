"""Goes through all that an HDF5 file says of itself: ``python hdf5_walk.py FILE SECONDS``.

A program of its own, for ``foreign.py``. What the library says in errors is not its subject. Behind
so many seconds it ends by itself, whatever has become of who started it.
"""

import contextlib
import signal
import sys

import h5py


def _look(_: str, thing: h5py.Group | h5py.Dataset) -> None:
    """Attributes of a group or a data set, shapes and dtypes; no data."""
    for name in thing.attrs:
        thing.attrs[name]
    if isinstance(thing, h5py.Dataset):
        _ = str((thing.shape, thing.dtype))


def main(path: str) -> None:
    """All groups and data sets, once each."""
    with contextlib.suppress(Exception), h5py.File(path, "r") as file:
        _look("/", file)
        file.visititems(_look)


if __name__ == "__main__":
    if hasattr(signal, "alarm"):  # which ends what never comes back to Python, too
        signal.alarm(int(sys.argv[2]))
    main(sys.argv[1])
