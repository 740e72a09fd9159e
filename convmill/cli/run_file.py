"""What a folder of checkpoints says of the training that it is for: ``run.json``.

So ``convmill resume`` needs no options. Paths in it are absolute: it may be asked from anywhere.
"""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from convmill import data, files, settings
from convmill.cli.job import Job
from convmill.data import Dataset
from convmill.every import read_every
from convmill.failure import Failure, describe
from convmill.plain_json import json_text
from convmill.presets import load

NAME = "run.json"
FORMAT, VERSION = "convmill run", 2
_PATHS = ("out", "history", "report")
_TEXTS = ("data_name", "model", "recipe", "optimizer", *_PATHS)
_NUMBERS = ("epochs", "batch_size", "seed")
_NAMES = {*_TEXTS, *_NUMBERS, "threads", "validate", "every"}


def write_run(job: Job, dataset: Dataset) -> None:
    """Writes into ``job.checkpoint`` how to go on with it. Failure where that cannot be, or where
    it began with other data."""
    assert job.checkpoint is not None
    fingerprint = dataset.fingerprint
    if job.fingerprint not in (None, fingerprint):
        raise Failure(
            f"{job.checkpoint} is of a training on other data: those of {dataset.name} have "
            "changed since. Go on with the data that it began with, or begin anew in another "
            "folder."
        )
    options = {each.name: getattr(job, each.name) for each in fields(job) if each.name in _NAMES}
    options |= {name: _absolute(options[name]) for name in _PATHS}
    options["data_name"] = _found(job.data_name or dataset.name)
    options["model"] = None if job.model is None else os.path.abspath(job.model)
    run = {"format": FORMAT, "version": VERSION, "data": fingerprint, "options": options}
    try:
        job.checkpoint.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(describe(error)) from error
    files.write_text_whole(job.checkpoint / NAME, json_text(run))


def read_run(folder: Path, quiet: bool) -> Job:
    """The training that a folder is for. Failure where it holds none."""
    path = folder / NAME
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Failure(
            f"{folder} holds no training. Give the folder of 'convmill train --checkpoint'."
        ) from error
    except OSError as error:
        raise Failure(describe(error)) from error
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} is damaged: {error}") from error
    options = _checked(path, run)
    recipe = options["recipe"]
    paths = {name: None if options[name] is None else Path(options[name]) for name in _PATHS}
    return Job(
        **(options | paths),
        preset=None if recipe is None else load(recipe),
        checkpoint=folder,
        quiet=quiet,
        fingerprint=run["data"],
    )


def _checked(path: Path, run: Any) -> dict[str, Any]:
    options = run.get("options") if isinstance(run, dict) else None
    if (
        not isinstance(options, dict)
        or (run.get("format"), run.get("version")) != (FORMAT, VERSION)
        or not isinstance(run.get("data"), str)
        or set(options) != _NAMES
        or not all(options[name] is None or isinstance(options[name], str) for name in _TEXTS)
        or not all(type(options[name]) is int for name in _NUMBERS)
        or not isinstance(options["threads"], int | None)
        or not isinstance(options["validate"], bool)
        or not _is_every(options["every"])
    ):
        raise Failure(f"{path} is not what this convmill writes. Received: {run!s:.100}")
    return options


def _is_every(given: Any) -> bool:
    try:
        read_every(given)
    except ValueError:
        return False
    return True


def _absolute(path: Path | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def _found(data_name: str) -> str:
    """A data set's name as it is, and a path from anywhere."""
    return data_name if data.is_name(data_name) else os.path.abspath(settings.expanded(data_name))
