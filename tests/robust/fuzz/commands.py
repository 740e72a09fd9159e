"""Random command lines: every command with options that it has, and values of all sorts.

Most are refused within milliseconds; every ``MEANT_EACH``th may well do its work. What would
take long is kept short: data of a few images, few epochs, and no command that measures speed or
asks the network. One in ``PROCESS_EACH`` runs in a process of its own, as from a shell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from tests.robust.fuzz import shell
from tests.robust.fuzz.outcomes import INTERNAL, REFUSED, RIGHT, Case, Fault, Result, expect

Rng = np.random.Generator
MEANT_EACH = 20
PROCESS_EACH = 1000
SKIPPED = {"bench", "fetch"}  # which measure for minutes, and download
TEXTS = (
    *("", " ", "-", "--", "-1", "0", "1", "2", "3", "1.5", "1e9", "99999999999999999999", "nan"),
    *("inf", "true", "None", "x", "x" * 300, "ü", "日本", "\x1b[31m", "a\nb", "~", "~nobody", "."),
    *("..", "/dev/null", "/proc/self/mem", "no/such", "%s", "{}", "*", "$HOME", "--help"),
    *("mnits", "digits", "fast", "adam", "ADAM", "28x28x1", "0x0", "1x1x1x1x1", "torch"),
    *("png", "a=b", "[1]", "\udcff"),
)
ALWAYS = ("epochs", "layer")
MEANT: dict[str, tuple[str, ...]] = {  # values of parameters that may be meant, by their names
    "data_name": ("set.npz", "set.npz", "colours.npz"),
    "model": ("net.py:build", "net.py:build", "net.keras", "net.py:fails", "net.py:nothing"),
    "other": ("net.py:build", "net.keras"),
    "model_file": ("net.keras",),
    "pictures": ("grey.png", "colour.jpg"),
    "picture_file": ("grey.png", "colour.jpg"),
    "history_files": ("run.json",),
    "name": ("study.toml", "study.toml", "digits"),
    "folder": ("run", "folder", "new"),
    "every": ("1 steps", "5s"),
    "metric": ("loss", "accuracy"),
    "layer": ("conv2d", "dense", "flatten", "re_lu"),
    "input_shape": ("8x8x1", "28x28x1", "1x1x1", "16x16x3"),
    "pixels": ("0..1", "0..255", "-1..1"),
    "out": ("new.keras", "new.png", "new.svg", "new.html", "new"),
    "history": ("new.json", "run.json"),
    "report": ("new.html",),
    "checkpoint": ("run", "new"),
    "steps": ("1", "3"),
}


def begin(folder: Path) -> Case:
    """The cases, each in a folder of its own, with files of all kinds around it."""
    from convmill.cli.app import cli

    os.environ |= {"HOME": str(folder), "CONVMILL_DATA": ""}
    around = Around(folder)
    commands = dict(_commands(cli))

    def case(number: int) -> Result:
        rng = np.random.default_rng(number)
        name = str(rng.choice(list(commands)))
        around.make()
        wild = rng.choice((0.3, 0.6)) if number % MEANT_EACH else rng.choice((0.0, 0.05))
        arguments = [*name.split(), *soup(commands[name], rng, around, float(wild))]
        os.chdir(around.place)
        what = f"convmill {name}"
        try:
            if number % PROCESS_EACH == PROCESS_EACH - 1:
                return Result(f"{what}, in a process", _in_a_process(arguments))
            return Result(what, shell.outcome(*arguments))
        except Fault as fault:
            raise Fault(what, str(fault)) from fault
        finally:
            os.chdir(folder)

    return case


def _commands(group: click.Group, above: str = "") -> Any:
    """All commands by their words, but for those that are skipped."""
    for name, command in group.commands.items():
        words = f"{above} {name}".strip()
        if isinstance(command, click.Group):
            yield from _commands(command, words)
        elif name not in SKIPPED:
            yield words, command


class Around:
    """Files that arguments may name, made anew where a case has changed them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "place"
        self.kept = _files(folder)
        self.untouched: list[Any] = []
        self.names: tuple[str, ...] = (*self.kept, "folder", "empty", "new.keras", "new.json")
        self.names += ("new.png", "new.svg", "new.html", "run")

    def make(self) -> None:
        """As they were."""
        if self.place.exists() and _files_of(self.place) == self.untouched:
            return
        shutil.rmtree(self.place, ignore_errors=True)
        (self.place / "folder").mkdir(parents=True)
        (self.place / "empty").write_bytes(b"")
        shutil.copytree(self.folder / "run", self.place / "run")
        for name, content in self.kept.items():
            (self.place / name).write_bytes(content)
        self.untouched = _files_of(self.place)


def _files_of(folder: Path) -> list[Any]:
    """All that lies in a folder, by what changes where somebody writes."""
    found: list[Any] = []
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        status = entry.stat(follow_symlinks=False)
        found.append((entry.name, status.st_mode, status.st_size, status.st_mtime_ns))
        if entry.is_dir(follow_symlinks=False):
            found += _files_of(Path(entry.path))
    return found


def _files(folder: Path) -> dict[str, bytes]:
    """Small files of all kinds, by name."""
    place = folder / "first"
    place.mkdir()
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (12, 8, 8), np.uint8), np.arange(12, dtype=np.uint8) % 2
    np.savez(place / "set.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    colours = rng.integers(0, 256, (12, 8, 8, 3), np.uint8)
    np.savez(place / "colours.npz", x_train=colours, y_train=y, x_test=colours, y_test=y)
    for name, pixels in (("grey.png", x[0]), ("colour.jpg", colours[0])):
        Image.fromarray(pixels).save(place / name)
    (place / "net.py").write_text(
        "import keras\n"
        "def build(input_shape=(8, 8, 1), classes=2):\n"
        "    stack = [keras.Input(input_shape), keras.layers.Conv2D(2, 3), keras.layers.ReLU()]\n"
        "    stack += [keras.layers.Flatten(), keras.layers.Dense(classes, 'softmax')]\n"
        "    return keras.Sequential(stack)\n"
        "def fails():\n    raise KeyError('build')\n"
        "nothing = None\n"
    )
    (place / "study.toml").write_text(
        'question = "?"\nseeds = 2\nquick.seeds = 2\n'
        '[data]\nname = "set.npz"\n[training]\nepochs = 1\nbatch_size = 4\n'
        '[arms.a]\nmodel = "dense"\narguments.units = [2]\n'
        '[arms.b]\nmodel = "net.py:build"\n'
    )
    train = ("train", "--data", place / "set.npz", "--epochs", 1, "--seed", 1)
    train += ("--model", f"{place / 'net.py'}:build", "--out", place / "net.keras")
    train += ("--validate", "--checkpoint", folder / "run", "--history", place / "run.json")
    printed = shell.run(*train)
    expect(printed.code == 0, printed)
    return {path.name: path.read_bytes() for path in place.iterdir()}


# Soups -------------------------------------------------------------------------------------------


def soup(command: click.Command, rng: Rng, around: Around, wild: float) -> list[str]:
    """Arguments for a command: such as it has, with values that may be meant, but for a share that
    is ``wild``."""
    words: list[str] = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            count = 1 if rng.random() >= wild else int(rng.choice((0, 2)))
            words += [_value(parameter, rng, around, wild) for _ in range(count)]
        elif isinstance(parameter, click.Option) and rng.random() < _share(parameter):
            words += _option(parameter, rng, around, wild)
    if rng.random() < wild:
        words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(TEXTS)))
    return words if rng.random() >= wild else list(rng.permutation(words).tolist())


def _share(option: click.Option) -> float:
    """How often an option is given."""
    if option.name == "cluster":  # which starts one
        return 0.0
    return 0.95 if option.required or option.name in ALWAYS else 0.25


def _option(option: click.Option, rng: Rng, around: Around, wild: float) -> list[str]:
    name = str(rng.choice([*option.opts, *option.secondary_opts]))
    if rng.random() < wild / 3:
        name = name[:-1]  # an abbreviation, or nothing
    if option.is_flag:
        return [name] if rng.random() >= wild / 3 else [f"{name}=yes"]
    count = option.nargs if rng.random() >= wild else 1
    values = [_value(option, rng, around, wild) for _ in range(count)]
    return [f"{name}={values[0]}", *values[1:]] if rng.random() < 0.2 else [name, *values]


def _value(parameter: click.Parameter, rng: Rng, around: Around, wild: float) -> str:
    kind = parameter.type
    if rng.random() < wild:
        return str(rng.choice((*TEXTS, *around.names)))
    if isinstance(kind, click.Choice):
        return str(rng.choice([str(one) for one in kind.choices]))
    if parameter.name in MEANT:
        return str(rng.choice(MEANT[parameter.name]))
    if isinstance(kind, click.types.IntParamType | click.Tuple):
        return str(rng.choice(("0", "1", "2", "3", "5")))
    return str(rng.choice(around.names))


def _in_a_process(arguments: list[str]) -> str:
    """The same from a shell."""
    command = [sys.executable, "-m", "convmill", *arguments]
    try:
        found = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except (ValueError, UnicodeEncodeError):  # no shell can pass that
        return REFUSED
    if found.returncode not in shell.CODES or "Traceback" in found.stdout + found.stderr:
        raise Fault("", f"exit code {found.returncode}: {arguments}\n{found.stderr[-2000:]}")
    words = found.stderr.partition("Error: ")[2]
    if found.returncode and (len(words) < 10 or INTERNAL.search(words)):
        raise Fault("", f"no clear error: {arguments}\n{found.stderr[-2000:]}")
    return RIGHT if found.returncode == 0 else REFUSED
