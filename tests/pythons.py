"""``python -m tests.pythons``, or ``make pythons``: our wheel under each Python that is here.

A wheel is built, and installed with what it needs into a fresh environment of each Python from 3.11
on that is found (on PATH, or pyenv's); there a net is trained, saved, loaded and looked at. Fails
where one of them fails; where the package index cannot be reached it says so and passes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
OLDEST, NEWEST = 11, 14  # 3.x
BUILD = "from hatchling.build import build_{kind}; print(build_{kind}({folder!r}))"
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"
SMALL = "click"  # one of our dependencies, to ask the index for
TRIED = """
import numpy as np
from convmill import layers, models
x = np.random.default_rng(0).random((64, 8, 8, 1), np.float32)
y = (x.mean((1, 2, 3)) > 0.5).astype("int32")
model = models.Sequential([
    layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(2),
    layers.Flatten(), layers.Dense(2, activation="softmax"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
model.save("net.keras")
again = models.load_model("net.keras").predict(x, verbose=0)
assert np.array_equal(again, model.predict(x, verbose=0))
"""


class Failed(Exception):
    """What a command said that failed."""


def done(*command: str | Path, **options: object) -> str:
    """What a command prints; it knows nothing of this checkout. Failed where it fails."""
    apart = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    apart |= {"CONVMILL_STRICT": "1", "CONVMILL_CACHE": "", "KERAS_BACKEND": "jax"}
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        **{"env": apart, **options},  # type: ignore[call-overload]
    )
    if result.returncode:
        raise Failed(f"{' '.join(map(str, command))[:200]}\n{result.stdout}{result.stderr}")
    return str(result.stdout)


def built(kind: str, folder: Path) -> Path:
    """A "wheel" or an "sdist"."""
    code = BUILD.format(kind=kind, folder=str(folder))
    return folder / done(sys.executable, "-c", code, cwd=ROOT).split()[-1]


def has_index(folder: Path) -> bool:
    """Whether pip gets at packages."""
    command = ("-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder, SMALL)
    try:
        done(sys.executable, *command)
    except Failed:
        return False
    return True


def pythons() -> Iterator[tuple[str, str]]:
    """Version and path of each Python that is found, one of each version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    for version in (f"3.{minor}" for minor in range(OLDEST, NEWEST + 1)):
        name = f"python{version}"
        for path in (shutil.which(name), *sorted(pyenv.glob(f"*/bin/{name}"))):
            if path is not None and _is(path, version):
                yield version, str(path)
                break


def _is(path: str | Path, version: str) -> bool:
    try:
        return done(path, "-c", VERSION).strip() == version
    except (Failed, OSError):  # such as pyenv's stand-in for a Python that is not chosen
        return False


def try_out(python: str, package: Path, folder: Path) -> None:
    """Installs a package into a new environment and trains with it. Failed where that fails."""
    done(python, "-m", "venv", folder / "venv")
    inside = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    done(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package)
    done(inside, "-m", "pip", "check")
    where = done(inside, "-c", "import convmill; print(convmill.__file__)", cwd=folder).strip()
    if not Path(where).is_relative_to(folder):
        raise Failed(f"convmill was found at {where}")
    done(inside, "-W", "error::SyntaxWarning", "-c", TRIED, cwd=folder)
    done(inside, "-m", "convmill", "inspect", folder / "net.keras", cwd=folder)


def main() -> int:
    """The exit code."""
    failed = False
    with tempfile.TemporaryDirectory() as place:
        if not has_index(Path(place)):
            print("The package index cannot be reached: nothing was installed.")
            return 0
        wheel, there = built("wheel", Path(place)), dict(pythons())
        for minor in range(OLDEST, NEWEST + 1):
            version = f"3.{minor}"
            if version not in there:
                print(f"{version}: there is none here", flush=True)
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    try_out(there[version], wheel, Path(folder))
                    print(f"{version}: installed, trained, saved, loaded", flush=True)
                except Failed as error:
                    failed = True
                    print(f"{version}: {error}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
