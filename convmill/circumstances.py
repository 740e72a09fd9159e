"""With what and where something was run: versions and the machine, for records and pages."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import convmill
from convmill import backends
from convmill.runtime.host import cores

PACKAGES = ("numpy", "llvmlite", "scipy")


def versions() -> dict[str, str]:
    """Versions of convmill, of Python and of the packages that figures may depend on; of Keras'
    backends that of the one in use."""
    found = {"convmill": convmill.__version__, "python": platform.python_version()}
    for name in ("keras", backends.chosen(), *PACKAGES):
        found |= _version(name)
    return found


def _version(name: str) -> dict[str, str]:
    for package in (name, f"{name}-cpu"):  # TensorFlow's build for CPUs is a package of its own
        try:
            return {name: version(package)}
        except PackageNotFoundError:
            continue  # a package may be there without having been installed
    return {}


def machine() -> str:
    """The processor, the cores that this process may use, and the system, in a line."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{processor_name()}, {cores()} {'core' if cores() == 1 else 'cores'}, {system}"


def processor_name() -> str:
    """What the system calls the processor; its architecture where it has no name for it."""
    return _linux_name() or platform.processor() or platform.machine()


def _linux_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")
