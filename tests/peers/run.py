"""Runs Keras' tests in a process of their own, and reads what came out."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).parents[2]
TIME_LIMIT = 900  # seconds: a test that hangs must not hang us
_PREFIX = "keras.src."

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Case:
    """How one test ended, and how much of it ran compiled."""

    outcome: Outcome
    message: str = ""
    calls: int = 0
    images: int = 0
    fallbacks: Mapping[str, int] = field(default_factory=dict)


def run(
    modules: Sequence[str], select: str, routes: Sequence[str], scratch: Path
) -> dict[str, Case]:
    """Cases by name; without ``routes`` as Keras runs them, without convmill.

    ``scratch`` is a folder for what JAX compiles, so that the next run need not do it again.

    Raises:
        RuntimeError: pytest could not run them: no case selected, or a module not imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        settings = Path(folder, "pytest.ini")  # Keras' tests are not to be run under our settings
        settings.write_text("[pytest]\nfaulthandler_timeout = 120\n")
        command = [sys.executable, "-m", "pytest", "-c", settings, "-p", "no:cacheprovider"]
        command += ["--rootdir", _packages(), "--junitxml", report, "-q"]
        command += ["-W", "ignore", "-p", "tests.peers.wheel", "-k", select]
        if routes:
            command += ["-p", "tests.peers.plugin", *(f"--route={route}" for route in routes)]
        command += ["--pyargs", *(_PREFIX + module for module in modules)]
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env=_environment(Path(folder), scratch),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
        if done.returncode not in (0, 1):  # all passed, or some failed
            said = (done.stdout + done.stderr)[-4000:]
            raise RuntimeError(f"pytest stopped ({done.returncode}):\n{said}")
        return _read(report)


def _packages() -> Path:
    """The folder that holds the keras package, found without importing it."""
    spec = importlib.util.find_spec("keras")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


def _environment(folder: Path, scratch: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CONVMILL_")}
    return {
        **kept,
        "KERAS_BACKEND": "jax",
        "KERAS_HOME": str(folder),
        "JAX_PLATFORMS": "cpu",
        # Nearly all of plain Keras' time is compiling: less of it, and nothing twice.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(scratch),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONPATH": str(REPOSITORY),
    }


def _read(report: Path) -> dict[str, Case]:
    return {
        f"{case.get('classname', '')}.{case.get('name')}".removeprefix(_PREFIX): _case(case)
        for case in ElementTree.parse(report).iter("testcase")
    }


def _case(case: ElementTree.Element) -> Case:
    counted = {"calls": 0, "images": 0, "fallbacks": {}}
    for entry in case.iter("property"):
        if entry.get("name") == "convmill":
            counted = json.loads(entry.get("value", "{}"))
    bad = case.find("failure") if case.find("failure") is not None else case.find("error")
    if bad is not None:
        return Case("failed", bad.get("message", ""), **counted)
    return Case("passed" if case.find("skipped") is None else "skipped", **counted)
