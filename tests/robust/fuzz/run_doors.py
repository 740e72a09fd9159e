"""Doors for what studies, trainings and saved models leave on disk, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convmill.study import toml
from tests.robust.fuzz import mutations, shell
from tests.robust.fuzz.files import HEAVY, SLOW, Door, both, fresh
from tests.robust.fuzz.outcomes import expect

STUDY = {
    "question": "Is a convolution better?",
    "measures": ["accuracy"],
    "seeds": 2,
    "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01},
    "arms": {
        "dense": {"model": "dense", "arguments": {"units": [2]}},
        "net": {
            "model": "notebook",
            "arguments": {"filters": [2], "dense": 2, "pooling": "none"},
        },
    },
    "quick": {"seeds": 1},
}
HISTORIES = {
    "run.json": json.dumps({"history": {"loss": [1.5, 0.25, None], "accuracy": [0.5, 0.75, 1]}}),
    "log.csv": "epoch,accuracy,loss\n0,0.5,1.5\n1,0.75,NA\n2,1.0,0.5\n",
}


def run_doors(folder: Path) -> list[Door]:
    """All of them."""
    data = folder / "set.npz"
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (12, 8, 8), np.uint8), np.arange(12, dtype=np.uint8) % 2
    np.savez(data, x_train=x, y_train=y, x_test=x, y_test=y)
    return [
        *_studies(folder, data),
        *_study_folder(folder, data),
        *_trained(folder, data),
        *_histories(folder),
    ]


def _done(*command: object) -> None:
    """Runs a command that must succeed."""
    printed = shell.run(*command)
    expect(printed.code == 0, printed)


def _studies(folder: Path, data: Path) -> list[Door]:
    path = folder / "mine.toml"
    content = toml.dumps({**STUDY, "data": {"name": str(data), "train": 8}}).encode()
    commands: dict[str, tuple[Any, ...]] = {
        "show": ("study", "show", path),
        "quick": ("study", "show", path, "--quick"),
        "run": ("study", "run", path, "--quick", "--jobs", 1, "--json", "--out", folder / "out"),
    }

    def door(name: str, command: tuple[Any, ...]) -> Door:
        def enter(may_differ: bool) -> str:
            fresh(folder / "out")
            return shell.outcome(*command)

        turns = HEAVY if name == "run" else SLOW
        return Door(f"study.toml, study {name}", path, content, enter, turns)

    return [door(*one) for one in commands.items()]


def _study_folder(folder: Path, data: Path) -> list[Door]:
    """The files in the folder of a study that has run."""
    place, spec = folder / "study", folder / "study.toml"
    spec.write_text(toml.dumps({**STUDY, "data": {"name": str(data), "train": 8}}))
    _done("study", "run", spec, "--jobs", 1, "--out", place)
    first = min((place / "runs").glob("*.json"))

    def door(path: Path) -> Door:
        name = path.name if path.parent == place else "run.json"
        content = path.read_bytes()

        def enter(may_differ: bool) -> str:
            found = shell.outcome("study", "report", place, "--json")
            path.write_bytes(content)
            return found

        return Door(f"{name}, study report", path, content, enter, SLOW, keep=True)

    return [door(path) for path in (place / "plan.json", place / "study.toml", first)]


def _trained(folder: Path, data: Path) -> list[Door]:
    """A saved model with its card, and the folder of a training that may go on."""
    model, run, script = folder / "net.keras", folder / "training", folder / "net.py"
    script.write_text(
        "import keras\n"
        "def build(input_shape, classes):\n"
        "    layers = [keras.Input(input_shape), keras.layers.Flatten()]\n"
        "    return keras.Sequential([*layers, keras.layers.Dense(classes, 'softmax')])\n"
    )
    train = ["train", "--data", data, "--epochs", 1, "--seed", 1, "--out", model]
    train += ["--checkpoint", run, "--model", f"{script}:build"]
    _done(*train)
    picture = folder / "seen.png"
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(picture)
    commands: dict[str, tuple[Any, ...]] = {
        "predict": ("predict", model, picture),
        "evaluate": ("evaluate", model, "--data", data, "--json"),
        "inspect": ("inspect", model, "--json"),
    }
    content = model.read_bytes()

    def through(name: str, command: tuple[Any, ...]) -> Door:
        enter = lambda may_differ: shell.outcome(*command)  # noqa: E731
        return Door(f"net.keras, {name}", model, content, enter, HEAVY)

    resume = lambda may_differ: shell.outcome("resume", run, "--json")  # noqa: E731
    path = run / "run.json"
    return [
        *(
            door
            for one in commands.items()
            for door in both(through(*one), mutations.zip_with, HEAVY)
        ),
        Door("run.json, resume", path, path.read_bytes(), resume, SLOW),
    ]


def _histories(folder: Path) -> list[Door]:
    def door(name: str, text: str) -> Door:
        path = folder / name
        command = ("show", "curves", path, "--out", folder / "curves.png")
        enter = lambda may_differ: shell.outcome(*command)  # noqa: E731
        return Door(f"{name}, show curves", path, text.encode(), enter, HEAVY)

    return [door(*one) for one in HISTORIES.items()]
