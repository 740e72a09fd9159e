"""Folders of studies that are damaged: one error with the file's name; runs are made again."""

from __future__ import annotations

import json
import re

import pytest

from convmill.study import store
from convmill.study.errors import StudyError
from convmill.study.plan import Plan, PlannedArm
from convmill.study.result import Run
from convmill.study.spec import read_spec
from convmill.study.training import Job

TABLE = {"arms": {"a": {"model": "notebook"}, "b": {"model": "dense"}}, "seeds": 1}


@pytest.fixture
def folder(tmp_path):
    """A finished study of two runs that nobody has trained."""
    spec = read_spec(TABLE, "mine")
    arms = [
        PlannedArm(arm.name, arm.label, arm.base, arm.at, seeds=(1,), digests=(f"{arm.name}1",))
        for arm in spec.arms
    ]
    store.begin(tmp_path, spec, Plan(tuple(arms)), "convmill study run mine.toml")
    for arm in spec.arms:
        job = Job(arm, 1.0, 1, spec.measures, f"{arm.name}1")
        store.keep(tmp_path, job, Run(arm.name, 1, {"accuracy": 0.5}))
    return tmp_path


def renamed(folder, old, new):
    path = folder / "plan.json"
    path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))


def appended(folder, text):
    with (folder / "study.toml").open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (lambda folder: appended(folder, "[[["), "study.toml"),
        (lambda folder: appended(folder, "sedes = 3"), "study.toml"),
        (lambda folder: (folder / "study.toml").write_bytes(b"\xff\xfe"), "study.toml"),
        (lambda folder: (folder / "study.toml").write_text("a = " + "[" * 5000), "study.toml"),
        (lambda folder: renamed(folder, "b", "c"), "study.toml"),
        (lambda folder: (folder / "plan.json").write_text("[]"), "plan.json"),
        (lambda folder: (folder / "plan.json").write_text("{}"), "plan.json"),
        (lambda folder: (folder / "plan.json").write_text('{"format": 1}'), "plan.json"),
        (lambda folder: (folder / "plan.json").write_text("[" * 100_000), "plan.json"),
        (lambda folder: (folder / "plan.json").write_bytes(b"\xff\xfe"), "plan.json"),
        *((lambda folder, key=key: renamed(folder, key, "other"), "plan.json")
          for key in ("name", "quick", "command", "arms", "digests", "seeds", "label")),
    ],
)  # fmt: skip
def test_a_damaged_study_is_said_with_its_file(folder, damage, file):
    assert len(store.read_folder(folder).kept.runs) == 2
    damage(folder)
    with pytest.raises(StudyError, match=rf"{file} is damaged: "):
        store.read_folder(folder)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        "3",
        "[" * 100_000,
        '{"format": 1}',
        '{"format": 1, "digest": [], "run": {}}',
        '{"format": 1, "digest": "a1", "run": {"arm": "a", "seed": 1, "values": {"loss": 1}}}',
        '{"format": 1, "digest": "a1", "run": {"arm": "a", "seed": 1, "valeus": {}}}',
    ],
)
def test_a_damaged_run_is_told_and_missing(folder, content):
    path = next((folder / "runs").glob("a-*.json"))
    path.write_text(content)
    kept = store.read_folder(folder).kept
    assert list(kept.runs) == ["b1"]
    assert len(kept.unread) == 1
    assert kept.unread[0].startswith("a-1-a1.json is damaged (")
    assert not re.search(r"__|class|indices", kept.unread[0])
    path.rename(path.with_name("a-1-older.json"))  # of a run that no plan names
    kept = store.read_folder(folder).kept
    assert (kept.unread, kept.foreign) == ((), 1)


def test_a_damaged_run_that_another_file_holds_is_nobodys_loss(folder):
    (folder / "runs" / "before-1-a1.json").write_text("{}")
    kept = store.read_folder(folder).kept
    assert (set(kept.runs), kept.unread, kept.foreign) == ({"a1", "b1"}, (), 0)


def test_runs_of_other_measures_that_are_not_wanted_are_no_damage(folder):
    path = next((folder / "runs").glob("a-*.json"))
    other = json.loads(path.read_text())
    other |= {"digest": "older", "run": other["run"] | {"values": {"loss": 1.0}}}
    (folder / "runs" / "a-1-older.json").write_text(json.dumps(other))
    kept = store.read_folder(folder).kept
    assert (set(kept.runs), kept.unread) == ({"a1", "b1", "older"}, ())
