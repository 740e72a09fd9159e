"""Files that hold what ``fit`` left: written by ``convmill train``, read by ``convmill show``."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convmill.failure import Failure, describe
from convmill.files import write_text_whole
from convmill.plain_json import json_text

SUFFIXES = (".json", ".csv")
# What CSVLogger writes for a figure that was not measured in an epoch.
NOT_MEASURED = ("NA", "")

History = dict[str, list[float | None]]


def write_history(history: Mapping[str, Any], path: Path) -> None:
    """Writes the ``.history`` of a fit as JSON, whole or not at all; NaN and infinity as null.

    Raises:
        Failure: it cannot be written; a file that was there is as it was.
    """
    write_text_whole(path, json_text(history))


def read_history(path: Path) -> History:
    """What is in a history file, by the names of the figures: a number for each epoch, NaN where
    it was not finite, None where it was not measured.

    Reads the JSON of ``convmill train --history`` (and of ``--json``, whose "history" it is), or
    the CSV of Keras' CSVLogger.

    Raises:
        Failure: it is neither.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise Failure(f"{path}: a history must be a {' or '.join(SUFFIXES)} file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        return _from_csv(text) if path.suffix.lower() == ".csv" else _from_json(text)
    except OSError as error:
        raise Failure(describe(error)) from error
    except (ValueError, RecursionError) as error:
        raise Failure(
            f"{path} is no history, as 'convmill train --history' or Keras' CSVLogger writes it. "
            f"{error}"
        ) from error


def names_of(files: Sequence[Path]) -> list[str]:
    """What tells files apart: their names without ending, or their names, or their paths; a file
    that is given twice gets numbers."""
    for name in (lambda file: file.stem, lambda file: file.name, str):
        names = list(map(name, files))
        if len(set(names)) == len(names):
            return names
    return [f"{index} {file}" for index, file in enumerate(files, 1)]


def _from_json(text: str) -> History:
    content = json.loads(text)
    if isinstance(content, dict):
        content = content.get("history", content)
    if not isinstance(content, Mapping) or not all(
        isinstance(values, list) for values in content.values()
    ):
        raise ValueError("Received: JSON that is no object of lists.")
    return {name: [_finite_or_nan(value) for value in values] for name, values in content.items()}


def _finite_or_nan(value: Any) -> Any:
    """What was not finite is null in JSON."""
    return math.nan if value is None else value


def _from_csv(text: str) -> History:
    reader = csv.DictReader(text.splitlines(), delimiter=_delimiter(text), strict=True)
    try:
        names = list(reader.fieldnames or ())
        columns: History = {name: [] for name in names}
        for name in columns:
            if names.count(name) > 1:
                raise ValueError(f"Received: more than one column named {name!r}.")
        for row in reader:
            where = f"in line {reader.line_num}"
            if None in row or None in row.values():
                raise ValueError(f"Received: more or fewer values than names {where}.")
            for name, values in columns.items():
                values.append(_number(row[name], where))
    except csv.Error as error:
        raise ValueError(f"Received: {error} in line {reader.line_num}.") from error
    return columns


def _number(text: str, where: str) -> float | None:
    if text in NOT_MEASURED:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"Received: {text!r} {where}, which is no number.") from error


def _delimiter(text: str) -> str:
    """CSVLogger can be told to write another one."""
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)
