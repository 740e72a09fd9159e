"""A study's folder: each finished run a file, written at once, and what the study was.

    study.toml     the resolved study, as it was when it last ran
    plan.json      its arms, and the digest of each run that it wants
    runs/          one file a run: ARM-SEED-DIGEST.json

A file's name ends in the digest of all that determines its run, so what has changed since is seen
by names alone. Files are never deleted.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from convmill.failure import describe
from convmill.files import write_text_whole
from convmill.plain_json import json_text
from convmill.reasons import reason_of
from convmill.study import toml
from convmill.study.errors import StudyError
from convmill.study.plain import from_plain
from convmill.study.plan import FORMAT, Plan, PlannedArm
from convmill.study.result import Run
from convmill.study.spec import Spec, read_spec
from convmill.study.training import Job

STUDY, PLAN, RUNS = "study.toml", "plan.json", "runs"
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Kept:
    """What is in a folder: runs and reasons of failed ones by digest, words on files of wanted runs
    that cannot be read, and how many others cannot."""

    runs: Mapping[str, Run]
    failures: Mapping[str, str]
    unread: tuple[str, ...]
    foreign: int = 0


@dataclass(frozen=True)
class Stored:
    """A folder as a whole: the study as it last ran, what it wanted, and what is there."""

    spec: Spec
    arms: tuple[PlannedArm, ...]
    command: str
    kept: Kept


def begin(folder: Path, spec: Spec, plan: Plan, command: str) -> None:
    """Makes the folder, and writes down what is wanted.

    Raises:
        Failure: it cannot be written. OSError: the folder cannot be made.
    """
    (folder / RUNS).mkdir(parents=True, exist_ok=True)
    head = {"name": spec.name, "quick": spec.quick, "command": command, "format": FORMAT}
    _write(folder / PLAN, {**head, "arms": [asdict(arm) for arm in plan.arms]})
    text = toml.dumps(spec.source)
    write_text_whole(folder / STUDY, text)


def keep(folder: Path, job: Job, run: Run | str) -> None:
    """Writes a finished run, or why it failed, whole or not at all.

    Raises:
        Failure: it cannot be written, such as on a full disk.
    """
    content = {"failure": run} if isinstance(run, str) else {"run": asdict(run)}
    whole = {
        "format": FORMAT,
        "digest": job.digest,
        "arm": job.arm.name,
        "seed": job.seed,
        "configuration": {"factor": job.factor, **asdict(job.arm)},
        **content,
    }
    name = f"{UNFIT.sub('_', job.arm.name)}-{job.seed}-{job.digest}.json"
    _write(folder / RUNS / name, whole)


def read_kept(folder: Path, wanted: Container[str], measures: Sequence[str]) -> Kept:
    """All runs in a folder, whichever study they were made for; those of the ``wanted`` digests
    must hold all ``measures``. A file that cannot be read is told by the digest in its name: it
    does not matter where another one holds the run."""
    runs: dict[str, Run] = {}
    failures: dict[str, str] = {}
    unread: dict[str, str] = {}  # by digest
    for path in sorted((folder / RUNS).glob("[!.]*.json")):
        named = path.stem.rpartition("-")[2]
        try:
            content = _table(path)
            if content["format"] != FORMAT:
                unread[named] = f"{path.name} is of format {content['format']}, not {FORMAT}"
                continue
            if "failure" in content:
                failures[content["digest"]] = str(content["failure"])
                continue
            digest, run = content["digest"], from_plain(Run, content["run"])
            lacking = [name for name in measures if name not in run.values]
            if digest in wanted and lacking:
                unread[named] = f"{path.name} is damaged (without {', '.join(lacking)})"
            else:
                runs[digest] = run
        except OSError as error:
            unread[named] = describe(error)
        except DAMAGE as error:
            unread[named] = f"{path.name} is damaged ({reason_of(error)})"
    left = {digest: words for digest, words in unread.items() if digest not in runs}
    told = tuple(words for digest, words in left.items() if digest in wanted)
    return Kept(runs, failures, told, len(left) - len(told))


def _table(path: Path) -> Mapping[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, Mapping):
        raise ValueError("it holds no table")
    return content


def read_folder(folder: Path) -> Stored:
    """What a study's folder holds.

    Raises:
        StudyError: there is no study in it, one of another format, or a damaged one.
    """
    with _reading(folder, PLAN):
        plan = _table(folder / PLAN)
        written_by = plan["format"]
    if written_by != FORMAT:
        raise StudyError(
            f"{folder} was written by another version of convmill (format {written_by}, "
            f"where this one reads {FORMAT}). Run the study again, or report it with that version."
        )
    with _reading(folder, PLAN):
        head = from_plain(_Head, plan)
        arms = tuple(_planned(table) for table in plan["arms"])
    with _reading(folder, STUDY):
        spec = read_spec(tomllib.loads((folder / STUDY).read_text(encoding="utf-8")), head.name)
        if {arm.name for arm in spec.arms} != {arm.name for arm in arms}:
            raise ValueError(f"its arms are not those of {PLAN}")
    spec = replace(spec, quick=head.quick)  # which is merged in already
    wanted = {digest for arm in arms for digest in arm.digests}
    return Stored(spec, arms, head.command, read_kept(folder, wanted, spec.measures))


@dataclass(frozen=True)
class _Head:
    """What plan.json must hold."""

    name: str
    quick: bool
    command: str
    arms: tuple[PlannedArm, ...]


def _planned(table: Mapping[str, Any]) -> PlannedArm:
    """An arm, its numbers as they were written: places such as 100 are no fractions."""
    lists = {key: tuple(table[key]) for key in ("seeds", "digests")}
    return PlannedArm(**{**table, **lists})


@contextmanager
def _reading(folder: Path, name: str) -> Iterator[None]:
    """Turns what reading a file of a study's folder raises into a StudyError."""
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"{folder} holds no study: {describe(error)}. 'convmill study run NAME' makes one."
        ) from error
    except DAMAGE as error:
        what = reason_of(error).rstrip(".")
        raise StudyError(
            f"{folder / name} is damaged: {what}. Run the study again: its finished runs are kept."
        ) from error


def _write(path: Path, content: Any) -> None:
    write_text_whole(path, json_text(content))
