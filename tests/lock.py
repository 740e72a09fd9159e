"""``python -m tests.lock``, or ``make lock``: the versions that developers and CI install.

Resolves what convmill needs, with ``dev`` and ``docs``, as pip does for this Python, and writes
``requirements-dev.lock``: names and versions, which ``make`` gives to pip as constraints. Nothing
is installed. Where the index cannot be reached the file stays as it is.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from convmill import storage

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements-dev.lock"
FREE = ("convmill", "pip")  # what is being worked on, and what every environment brings
HEAD = """\
# Versions that developers and CI install, of all packages that convmill needs with dev and docs:
# constraints for pip, made by `make lock` under Python {python}. What convmill's users get
# is in pyproject.toml.
"""


def main() -> int:
    """The exit code."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        options = ("--dry-run", "--ignore-installed", "--quiet", "--report", str(report))
        command = [sys.executable, "-m", "pip", "install", *options, f"{ROOT}[dev,docs]"]
        if subprocess.run(command, check=False).returncode:
            print(f"{LOCK.name} stays as it is: see pip's message above.", file=sys.stderr)
            return 1
        text = locked(json.loads(report.read_text(encoding="utf-8")))
    storage.write(LOCK, lambda file: file.write(text.encode()))
    return 0


def locked(report: dict[str, Any]) -> str:
    """The lock's text, from pip's report of an installation: no address of an index, no hash, for
    other platforms have other files."""
    found = [(one["metadata"]["name"], one["metadata"]["version"]) for one in report["install"]]
    lines = [f"{name}=={version}" for name, version in found if name.lower() not in FREE]
    python = ".".join(platform.python_version_tuple()[:2])
    return HEAD.format(python=python) + "\n".join(sorted(lines, key=str.lower)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
