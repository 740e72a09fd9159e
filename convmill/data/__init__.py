"""Data sets: by name (found, downloaded, verified) or from the user's own files.

`load("mnist")` or `load("my/pictures")` gives a `Dataset`. What is wrong raises `DataError`.
"""

from convmill.data.catalog import (
    CheckReport,
    Entry,
    catalog,
    check,
    fetch,
    is_name,
    load,
    load_mnist_or_digits,
    load_named,
    names,
)
from convmill.data.dataset import DataError, Dataset
from convmill.data.own import load_folder
from convmill.data.sources import FileReport

__all__ = [
    "CheckReport",
    "DataError",
    "Dataset",
    "Entry",
    "FileReport",
    "catalog",
    "check",
    "fetch",
    "is_name",
    "load",
    "load_folder",
    "load_mnist_or_digits",
    "load_named",
    "names",
]
