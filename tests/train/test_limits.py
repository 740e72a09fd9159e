"""Where memory is limited, too little of it is a MemoryError, not the end of the process."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from convmill import models
from convmill.runtime import memory, reserve

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600

LIMITED = """
import resource, sys
import numpy as np
from convmill import layers, models
model = models.Sequential([
    layers.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
    layers.Conv2D(64, 3, activation="relu"), layers.Flatten(), layers.Dense(10),
])
model.compile("rmsprop", "mse", metrics=["mae"])
x, y = np.zeros((256, 28, 28, 1), np.float32), np.zeros((256, 10), np.float32)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    model.fit(x, y, verbose=0)
    print("done")
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux' /proc")
@pytest.mark.parametrize(
    ("megabytes", "expected"),
    [
        (10, "backend takes up to 67 MB"),
        (150, "loading LLVM takes up to 210 MB"),
        (1000, "done"),
    ],
)
def test_a_limited_process_says_what_was_wanted(megabytes, expected):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIMITED, str(megabytes)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    if expected != "done":
        assert "ulimit -v" in done.stdout


def test_what_steps_change_can_be_written_back_before_there_are_any(monkeypatch):
    """Else a training would be lost at its end."""
    model = models.Sequential([keras.Input((7,)), keras.layers.Dense(11)])
    model.compile("adam", "mse")
    x, y = np.ones((3, 7), np.float32), np.ones((3, 11), np.float32)
    model.fit(x, y, verbose=0)
    before = model.get_weights()
    monkeypatch.setattr(reserve, "limit", lambda: 3_000_000_000)
    wanted = []

    def require(size, purpose):
        wanted.append(size)
        if "back to Keras" in purpose:
            raise MemoryError(purpose)

    monkeypatch.setattr(reserve, "require", require)
    for train in (model.fit, model.train_on_batch):
        model.layers[0].bias.assign(before[1])  # so that weights are read anew
        with pytest.raises(MemoryError, match="weights and the optimizer's state back to Keras"):
            train(x, y)
    assert wanted[-1] == reserve.KERAS + 2 * 3 * 4 * (7 * 11 + 11)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert int(model.optimizer.iterations) == 1


def test_a_file_that_takes_too_much_memory_leaves_the_old_one(monkeypatch, tmp_path):
    model = models.Sequential([keras.Input((7,)), keras.layers.Dense(11)])
    paths = [tmp_path / name for name in ("net.keras", "net.h5", "net.weights.h5")]
    for path in paths:
        path.write_text("old")
    monkeypatch.setattr(reserve, "limit", lambda: 3_000_000_000)
    monkeypatch.setattr(reserve, "KERAS", 1 << 60)
    for path in paths:
        save = model.save_weights if ".weights" in path.name else model.save
        with pytest.raises(MemoryError, match="saving the model takes up to"):
            save(path)
        assert path.read_text() == "old"


def test_an_array_that_is_too_large_is_told():
    with pytest.raises(MemoryError, match="4,000,000,000,000 MB could not be had"):
        memory.aligned(10**18, np.float32)


STARTED = """
import resource, sys
limit = int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
import keras
try:
    from convmill import models
    models.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    print("made")
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no such limit elsewhere")
@pytest.mark.parametrize(("megabytes", "expected"), [(1_200, "starting JAX"), (60_000, "made")])
def test_a_limited_process_does_not_end_where_jax_starts(megabytes, expected):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STARTED, str(megabytes)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no such limit elsewhere")
@pytest.mark.parametrize("command", [["train", "--data", "digits"], ["inspect", "{design}"]])
def test_a_limited_command_says_what_is_wanted(command, tmp_path):
    design = ROOT / "examples" / "designs.py"
    given = [part.format(design=f"{design}:notebook") for part in command]
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1_200_000_000,) * 2); "
    code += "from convmill.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *given],
        env=os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("Error: starting JAX takes up to"), done.stderr


def test_without_a_limit_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(reserve, "limit", lambda: None)
    reserve.require(1 << 60, "everything")


def test_what_is_wanted_and_allowed_is_said(monkeypatch):
    monkeypatch.setattr(reserve, "limit", lambda: 3_000_000_000)
    with pytest.raises(MemoryError, match=r"everything takes up to .* MB, .* 3,000 MB of address"):
        reserve.require(1 << 60, "everything")
    reserve.require(1 << 20, "little")


def test_a_net_that_cannot_be_compiled_now_can_be_later(monkeypatch):
    model = models.Sequential([keras.Input((7,)), keras.layers.Dense(11)])
    model.compile("sgd", "mse")
    x, y = np.ones((3, 7), np.float32), np.ones((3, 11), np.float32)
    monkeypatch.setattr(reserve, "limit", lambda: 3_000_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(reserve, "COMPILING", 1 << 60)
        with pytest.raises(MemoryError, match="compiling training takes up to"):
            model.fit(x, y, verbose=0)
    assert model.fit(x, y, verbose=0).epoch == [0]
