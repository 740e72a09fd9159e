"""What a measuring command leaves in a file: raw samples, and all that tells how they came about.

`docs/rebuild_benchmarks.py` makes docs/benchmarks.md of such files.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from benchmarks import machine
from benchmarks.peers import PEERS, ROOT
from convmill import storage
from convmill.runtime import host

MEASURED = ("convmill", "benchmarks")  # folders whose changes make another code of a commit
SHOWN_ALONE = ("json_file", "markdown")  # options that change nothing of what is measured


class RecordError(Exception):
    """A file that is no record; the message says which and why."""


@dataclass(frozen=True)
class Record:
    """One run of one command.

    `command` makes it again, with FILE and FOLDER for paths; `code` is the commit, with a "+" where
    the working tree had changes, None where there is no checkout; `target` what convmill compiled
    for; `versions` are packages and versions by peer. What `samples` holds, the command says.
    """

    part: str
    command: str
    code: str | None
    target: str
    machine: dict[str, Any]
    options: dict[str, Any]
    versions: dict[str, dict[str, str]]
    samples: dict[str, Any]


FIELDS = {field.name for field in dataclasses.fields(Record)}


def begin(part: str) -> Record:
    """A record of the click command that runs now, as yet without samples and versions."""
    context = click.get_current_context()
    try:
        target = context.params.get("target") or host.machine().target
    except ValueError as error:  # of the environment, where the command has no such option
        raise click.UsageError(f"{error}.") from None
    options = {
        parameter.name: _plain(parameter, context.params[parameter.name])
        for parameter in context.command.params
        if parameter.name in context.params and parameter.name not in SHOWN_ALONE
    }
    return Record(
        part, command_line(context), code_of(ROOT), target, machine.describe(), options, {}, {}
    )


def command_line(context: click.Context) -> str:
    """What makes this run anywhere: of its options those that were given."""
    words = [context.command_path]
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") in (
            ParameterSource.COMMANDLINE,
            ParameterSource.ENVIRONMENT,
        )
        if not given or parameter.name in SHOWN_ALONE:
            continue
        value = _plain(parameter, context.params[parameter.name or ""])
        words.append(parameter.opts[-1])
        if isinstance(value, list):
            known = getattr(parameter.type, "known", None)
            value = "all" if value == known else ",".join(value)
        if value is not True:
            words.append(f"{value:g}" if isinstance(value, float) else str(value))
    return " ".join(words)


def _plain(parameter: click.Parameter, value: Any) -> Any:
    """The value as JSON holds it, without the paths of this machine."""
    if not isinstance(value, Path):
        return value
    return "FILE" if getattr(parameter.type, "file_okay", True) else "FOLDER"


def code_of(checkout: Path) -> str | None:
    """Its commit, with a "+" where the code differs from it; None where that is no checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", checkout, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    if not (checkout / ".git").exists():  # not the commit of what it happens to lie in
        return None
    try:
        changed = git("status", "--porcelain", "--", *MEASURED)
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def own_versions() -> dict[str, dict[str, str]]:
    """Versions of what convmill needs, where it alone takes part."""
    name = "convmill"
    return {name: {package: metadata.version(package) for package in PEERS[name].packages}}


def write(record: Record, file: Path) -> None:
    """Write it, whole or not at all. Raises OSError where that fails."""
    fields = dataclasses.asdict(record).items()
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields)
    storage.write(file, lambda stream: stream.write(f"{{\n{text}\n}}\n".encode()))


def read(file: Path) -> Record:
    """Raises RecordError where the file is no record, OSError where it cannot be read."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{file.name} is no JSON: {error}.") from None
    if not isinstance(fields, dict) or set(fields) != FIELDS:
        found = ", ".join(sorted(fields)) if isinstance(fields, dict) else type(fields).__name__
        raise RecordError(
            f"{file.name} is no record of a benchmark, which has {', '.join(sorted(FIELDS))}. "
            f"Received: {found}. Measure it again."
        )
    return Record(**fields)
