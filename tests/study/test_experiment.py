"""Studies from the table to the answer: kept runs, failing arms, kills, changed files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from convmill.study import experiment, toml
from convmill.study.errors import StudyError
from convmill.study.plan import make_plan
from convmill.study.spec import read_spec
from tests.study.tables import small


def carry_out(table, folder, **options):
    return experiment.carry_out(table, folder=folder, workers=1, verbose=False, **options)[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(table, folder, result) of a study that is finished."""
    folder = tmp_path_factory.mktemp("finished")
    table = small(folder)
    return table, folder / "study", carry_out(table, folder / "study")


def files(folder):
    """The files of runs, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()}


def test_a_study_is_answered_with_pairs(finished):
    _, folder, result = finished
    assert result.complete
    assert [len(arm.summaries) for arm in result.arms] == [1, 1]
    (comparison,) = result.comparisons
    assert (comparison.first, comparison.second, comparison.n) == ("dense", "convnet", 2)
    by_arm = {
        arm: [r.values["accuracy"] for r in result.runs if r.arm == arm]
        for arm in ("dense", "convnet")
    }
    differences = [a - b for a, b in zip(by_arm["dense"], by_arm["convnet"], strict=True)]
    assert comparison.difference == pytest.approx(sum(differences) / 2)
    assert result.answer
    assert experiment.read(folder) == result


def test_a_run_says_how_it_was_made(finished):
    _, folder, _ = finished
    path = next((folder / "runs").glob("convnet-1-*.json"))
    content = json.loads(path.read_text())
    assert content["configuration"]["training"]["epochs"] == 2
    assert content["configuration"]["arguments"]["filters"] == [4]
    assert set(content["run"]["versions"]) >= {"convmill", "keras", "numpy"}
    assert "core" in content["run"]["machine"]
    assert len(content["run"]["curves"]["val_accuracy"]) == 2
    assert set(content["run"]["per_class"]) == {"0", "1"}


def test_nothing_that_is_finished_is_run_again(finished):
    table, folder, result = finished
    before = files(folder)
    assert carry_out(table, folder).runs == result.runs
    assert files(folder) == before


def test_a_changed_study_keeps_the_runs_that_still_count(finished, capsys):
    table, folder, _ = finished
    before = files(folder)
    arms = {**table["arms"], "dense": {**table["arms"]["dense"], "training": {"epochs": 1}}}
    arms["convnet"] = {**arms["convnet"], "label": "a new name"}
    result, _ = experiment.carry_out({**table, "arms": arms}, folder=folder, workers=1)
    said = capsys.readouterr().out
    assert "2 of 4 runs are in" in said
    assert "2 runs there do not count: they were made for another configuration" in said
    assert "(arms: dense)" in said
    assert result.complete
    after = files(folder)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2
    carry_out(table, folder)  # the study as it was: all of its runs are there
    assert files(folder) == after


LOSS = """
import keras

def loss(y, found):
    return keras.ops.mean((y - found) ** {power}, axis=-1)

def own(input_shape, classes):
    model = keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(),
                              keras.layers.Dense(classes, activation="softmax")])
    model.compile("sgd", loss, metrics=["accuracy"])
    return model

def plain(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(),
                             keras.layers.Dense(classes, activation="softmax")])
"""


def test_a_loss_that_changes_in_a_script_counts_for_its_arm_alone(tmp_path):
    script = tmp_path / "nets.py"
    arms = {name: {"model": f"{script}:{name}"} for name in ("own", "plain")}
    spec = read_spec(small(tmp_path, arms=arms), "mine")
    digests = []
    for power in (2, 4, 2):
        script.write_text(LOSS.format(power=power))
        digests.append({arm.name: arm.digests for arm in make_plan(spec).arms})
    assert digests[0] == digests[2]
    assert digests[0]["own"] != digests[1]["own"]
    assert digests[0]["plain"] == digests[1]["plain"]


def test_an_arm_that_fails_does_not_lose_the_others(tmp_path, capsys):
    script = tmp_path / "nets.py"
    script.write_text(
        "import keras\n\n"
        "def late(input_shape, classes):\n"
        "    model = keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(),\n"
        "                              keras.layers.Dense(classes + 1, activation='softmax')])\n"
        "    model.compile('sgd', 'mse', metrics=['no such metric'])\n"
        "    return model\n\n"
        "def early():\n    return 1 / 0\n"
    )
    table = small(tmp_path)
    table["arms"] |= {name: {"model": f"{script}:{name}"} for name in ("late", "early")}
    result, _ = experiment.carry_out(table, folder=tmp_path / "study", workers=1)
    said = capsys.readouterr().out
    assert said.index("Left out, for it cannot be made: arm 'early'") < said.index("dense, seed 1")
    assert result.complete
    assert [arm.name for arm in result.arms if arm.summaries] == ["dense", "convnet"]
    assert result.arm("early").parameters is None
    assert "no such metric" in result.arm("late").failure
    assert "ZeroDivisionError" in result.arm("early").failure
    assert any("early failed" in note for note in result.notes)
    assert experiment.read(tmp_path / "study") == result


def test_a_killed_study_goes_on_without_repeating_a_run(tmp_path, start):
    table = small(tmp_path)
    file, folder = tmp_path / "mine.toml", tmp_path / "study"
    file.write_text(toml.dumps(table))
    command = [sys.executable, "-m", "convmill", "study", "run", str(file), "--out", str(folder)]
    command += ["--jobs", "1"]
    killed = start(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert killed.stdout is not None
    line = next(line for line in killed.stdout if line.startswith("1/4"))
    assert "seed 1" in line
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    before = files(folder)
    assert 1 <= len(before) < 4
    found = experiment.read(folder)
    assert not found.complete
    assert found.comparisons == ()
    assert f"{len(before)} of 4 runs are finished" in found.answer
    assert carry_out(table, folder).complete
    after = files(folder)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before


def test_what_cannot_be_read_is_said_and_run_again(finished, tmp_path, capsys):
    table, folder, result = finished
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    carry_out(table, copy)
    paths = sorted((copy / "runs").glob("convnet-*.json"))
    paths[0].write_text(paths[0].read_text()[:100])
    other = json.loads(paths[1].read_text())
    paths[1].write_text(json.dumps({**other, "format": 99}))
    (copy / "runs" / ".0123456789abcdef.json").write_text("{")  # killed while it wrote
    found = experiment.read(copy)
    assert not found.complete
    assert len(found.notes) == 2
    assert any("is damaged" in note for note in found.notes)
    assert any("is of format 99" in note for note in found.notes)
    again, _ = experiment.carry_out(table, folder=copy, workers=1)
    said = capsys.readouterr().out
    assert said.count("Not read, so the run is made again: convnet-") == 2
    experiment.carry_out(table, folder=copy, workers=1)
    said = capsys.readouterr().out
    assert "4 of 4 runs" in said
    assert "Not read" not in said
    assert again.complete
    assert [run.values for run in again.runs] == [run.values for run in result.runs]


def test_a_disk_that_is_full_ends_with_one_error(tmp_path, monkeypatch):
    from convmill.failure import Failure
    from convmill.study import store

    written = []

    def full(path, text):
        if path.parent.name == "runs" and written:
            raise Failure(f"{path} could not be written: No space left on device.")
        written.append(path)
        real(path, text)

    real = store.write_text_whole
    monkeypatch.setattr(store, "write_text_whole", full)
    table = small(tmp_path)
    with pytest.raises(Failure, match="No space left"):
        carry_out(table, tmp_path / "study")
    monkeypatch.setattr(store, "write_text_whole", real)
    assert carry_out(table, tmp_path / "study").complete


def test_folders_and_data_that_are_not_there(tmp_path):
    with pytest.raises(StudyError, match="holds no study"):
        experiment.read(tmp_path)
    with pytest.raises(StudyError, match="no data at this path"):
        carry_out(small(tmp_path, data={"name": "no/where"}), tmp_path / "study")
    few = small(tmp_path)
    few["data"]["train"] = 1000
    with pytest.raises(StudyError, match=r"has 96 images. Received: train = 1000"):
        carry_out(few, tmp_path / "study")


@pytest.mark.long
def test_a_process_that_dies_does_not_lose_the_others(tmp_path):
    script = tmp_path / "nets.py"
    script.write_text(
        "import multiprocessing, os, signal\n"
        "from convmill.study.designs import dense\n\n"
        "def deadly(input_shape, classes):\n"
        "    if multiprocessing.current_process().name.startswith('Loky'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return dense(input_shape, classes, units=[3])\n"
    )
    table = small(tmp_path, seeds=1)
    table["arms"] |= {"deadly": {"model": f"{script}:deadly"}}
    result, _ = experiment.carry_out(table, folder=tmp_path / "study", workers=2, verbose=False)
    assert result.complete
    assert [arm.name for arm in result.arms if arm.summaries] == ["dense", "convnet"]
    assert "its process ended without a word, twice" in result.arm("deadly").failure


def test_in_python_a_study_gives_one_record_a_run(finished, monkeypatch):
    import convmill

    table, folder, result = finished
    monkeypatch.setitem(sys.modules, "pandas", None)
    records = convmill.study.run(table, folder=folder, workers=1, verbose=False)
    assert [record["seed"] for record in records] == [1, 2, 1, 2]
    assert [record["accuracy"] for record in records] == [
        run.values["accuracy"] for run in result.runs
    ]
    assert convmill.study.read(folder).answer == result.answer


SCRIPT = """
import keras

def net(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(),
                             keras.layers.Dense(classes, activation="softmax")])
"""


@pytest.mark.long
def test_processes_stand_where_the_study_was_asked_for(tmp_path, monkeypatch):
    """They are there from a study before, which was asked for in another folder."""
    table = small(tmp_path, arms={"dense": {"model": "dense"}, "own": {"model": "net.py:net"}})
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.py").write_text(SCRIPT)
        monkeypatch.chdir(tmp_path / name)
        result, _ = experiment.carry_out(table, folder=name, workers=2, verbose=False)
        assert [arm.failure for arm in result.arms] == ["", ""]
        assert result.complete
        (tmp_path / name / "net.py").unlink()
