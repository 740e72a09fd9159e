"""``convmill study``: listing, showing, running and reporting on the command line."""

from __future__ import annotations

import json
import tomllib
from unittest.mock import Mock

import pytest

from convmill.cli import main
from convmill.study import experiment, toml
from tests.study.tables import small

INTERRUPTED = 130


def test_studies_that_come_with_convmill_are_listed_and_shown(capsys):
    assert main(["study", "list"]) == 0
    assert "pooling: Does max pooling beat" in capsys.readouterr().out
    assert main(["study", "show", "pooling"]) == 0
    full = tomllib.loads(capsys.readouterr().out)
    assert main(["study", "show", "pooling", "--quick"]) == 0
    quick = tomllib.loads(capsys.readouterr().out)
    assert quick["seeds"] == full["quick"]["seeds"]
    assert quick["arms"].keys() == full["arms"].keys()


def test_a_study_of_ones_own_is_run_and_reported(tmp_path, capsys):
    file, folder = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(toml.dumps(small(tmp_path)))
    command = ["study", "run", str(file), "--out", str(folder), "--jobs", "1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "4/4  convnet, seed 2: test accuracy" in said
    assert "n = 2" in said
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["complete"]
    assert "4 of 4 runs are in" in captured.err
    assert main(["study", "report", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result


def test_arms_that_fail_end_in_status_1_after_all_is_told(tmp_path, capsys):
    table = small(tmp_path, seeds=1, training={"epochs": 1})
    table["arms"]["missing"] = {"model": "nowhere.keras"}
    file, folder = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(toml.dumps(table))
    command = ["study", "run", str(file), "--out", str(folder), "--jobs", "1"]
    assert main(command) == 1
    captured = capsys.readouterr()
    assert "2/2  convnet, seed 1" in captured.out
    assert "There is no file nowhere.keras" in captured.out
    assert "Kept in" in captured.out
    assert "Arms that failed, or runs of them: missing." in captured.err
    assert main([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["complete"]


def test_ctrl_c_says_that_the_same_command_goes_on(capsys, monkeypatch):
    monkeypatch.setattr(experiment, "carry_out", Mock(side_effect=KeyboardInterrupt))
    assert main(["study", "run", "pooling", "--quick"]) == INTERRUPTED
    words = "Stopped.\nThe runs that are finished are kept; the same command goes on.\n"
    assert capsys.readouterr().err.endswith(words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "poling"], "Did you mean 'pooling'?"),
        (["run", "nowhere.toml"], "nowhere.toml: No such file"),
        (["run", "pooling", "--jobs", "0"], "must be a whole number from 1"),
        (["run", "pooling", "--cluster", "slurm"], "'ray', 'dask'"),
        (["report", "nowhere"], "holds no study"),
    ],
)
def test_what_is_wrong_is_said(arguments, words, capsys):
    assert main(["study", *arguments]) != 0
    assert words in " ".join(capsys.readouterr().err.split())
