"""Hostile input of all kinds: the short form of ``make fuzz``."""

from __future__ import annotations

import os
import sys

import pytest

from tests.robust.fuzz import arrays, children, commands, files, models, native
from tests.robust.fuzz.__main__ import run

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("apart")]


@pytest.fixture
def apart(monkeypatch, tmp_path):
    """Environment and folder as they were, afterwards; nothing is asked of the network."""
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    for name in ("CONVMILL_TARGET", "CONVMILL_DATA", "HOME"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.chdir(tmp_path)


GROUPS = [("model_doors", 5), ("run_doors", 80), ("data_doors", 39)]  # the second one is long


@pytest.mark.parametrize(("group", "count"), GROUPS)
def test_changed_files_are_refused_or_read(group, count, tmp_path):
    case = files.begin(tmp_path, [group])
    assert "refused" in {case(number).outcome for number in range(count)}


def test_arrays_of_all_forms_are_refused_or_right(tmp_path):
    case = arrays.begin(tmp_path, 1)
    assert "right" in {case(number).outcome for number in range(8)}


def test_random_command_lines_are_refused_or_right(tmp_path):
    case = commands.begin(tmp_path)
    assert {case(number).outcome for number in range(12)} == {"right", "refused"}


@pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made by mprotect")
def test_native_code_touches_nothing_else(tmp_path):
    assert native.begin(tmp_path)(1).outcome == "right"


@pytest.mark.long
def test_odd_settings_are_refused_or_follow_keras(tmp_path):
    case = models.begin(tmp_path)
    assert {case(number).outcome for number in range(10)} >= {"right", "as Keras"}


def test_a_case_that_ends_its_process_or_holds_it_is_told_and_the_others_go_on(capsys):
    found = list(children.answers("faulty", range(5), patience=3.0))
    assert [one.outcome or one.what for one in found] == [
        *("right", "crash", "hang of 3 s", "refused", "a fault")
    ]
    assert "Segmentation fault" in found[1].fault
    assert "faulty.py" in found[2].fault
    assert found[4].fault == "a silent wrong number"
    assert run("faulty", range(3, 5), float("inf")) == 1
    assert "faulty 4: a fault: a silent wrong number" in capsys.readouterr().out


def test_a_kind_whose_processes_do_not_start_ends_in_words(capsys):
    """After a few; what comes behind it is run all the same."""
    found = list(children.answers("no_such_kind", range(9), patience=60.0))
    assert [one.what for one in found] == ["crash before the first case"] * 3
    assert "No module named 'tests.robust.fuzz.no_such_kind'" in found[0].fault
    assert found[2].fault.endswith("3 in a row did not start: no_such_kind ends here")
    assert run("no_such_kind", range(9), float("inf")) == 3
    assert "no_such_kind ends here" in capsys.readouterr().out
