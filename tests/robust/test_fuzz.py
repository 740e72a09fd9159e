"""Hostile input of all kinds: the short form of ``make fuzz``."""

from __future__ import annotations

import os
import sys
from collections import Counter

import pytest

from tests.robust.fuzz import (
    __main__ as fuzz,
)
from tests.robust.fuzz import (
    arrays,
    children,
    commands,
    files,
    kinds,
    models,
    mutations,
    native,
    record,
)
from tests.robust.fuzz.__main__ import faults, run
from tests.robust.fuzz.record import Record

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("apart")]


@pytest.fixture
def apart(monkeypatch, tmp_path):
    """Environment and folder as they were, afterwards; nothing is asked of the network."""
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    for name in ("CONVMILL_TARGET", "CONVMILL_DATA", "HOME"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.chdir(tmp_path)


GROUPS = [("model_doors", 2), ("run_doors", 2), ("data_doors", 3), ("text_doors", 8)]


@pytest.mark.parametrize(("group", "count"), GROUPS)
def test_changed_files_are_refused_or_read(group, count, tmp_path):
    """Through every door of a group."""
    doors = files.doors(tmp_path, [group])
    found = {files.through(door, number).outcome for door in doors for number in range(count)}
    assert "refused" in found


def test_every_byte_of_a_file_is_changed_in_every_way_and_then_two_at_once():
    content = bytes(range(11))
    ways = len(mutations.FIRST) + len(mutations.REST)
    changed = [mutations.mutated(content, number) for number in range(11 * ways)]
    flipped = {one for one in changed if len(one) == 11 and one != content}
    assert len(flipped) == 11 * 255
    assert {content[:place] for place in range(11)} <= set(changed)
    assert content not in changed
    twice = [mutations.mutated(content, 11 * ways + number) for number in range(500)]
    assert len(set(twice) - set(changed)) > 300


def test_arrays_of_all_forms_are_refused_or_right(tmp_path):
    case = arrays.begin(tmp_path, 1)
    numbers = (0, *range(1, 60))  # the first goes through a method of whole data sets
    assert {case(number).outcome for number in numbers} == {"right", "refused"}


def test_random_command_lines_are_refused_or_right(tmp_path):
    case = commands.begin(tmp_path)
    assert {case(number).outcome for number in (0, 20, *range(1, 18))} == {"right", "refused"}


@pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made by mprotect")
def test_native_code_touches_nothing_else(tmp_path):
    case = native.begin(tmp_path)
    assert {case(number).outcome for number in range(20)} == {"right"}


@pytest.mark.long
def test_odd_settings_are_refused_or_follow_keras(tmp_path):
    case = models.begin(tmp_path)
    assert {case(number).outcome for number in range(10)} >= {"right", "as Keras"}


def test_a_case_that_ends_its_process_or_holds_it_is_told_and_the_others_go_on(capsys):
    found = list(children.told("faulty", range(5), patience=3.0))
    counts = sum((one.counts for one in found), Counter())
    assert counts == {
        ("a case", "right"): 1,
        ("a case", "refused"): 1,
        ("crash", "fault"): 1,
        ("hang of 3 s", "fault"): 1,
        ("a fault", "fault"): 1,
    }
    crash, hang, wrong = sorted(fault for one in found for fault in one.faults)
    assert (crash.number, hang.number, wrong.number) == (1, 2, 4)
    assert "Segmentation fault" in crash.text
    assert "faulty.py" in hang.text
    assert wrong.text == "a silent wrong number"


def test_faults_are_printed_with_how_they_are_run_again(capsys):
    counted = Record()
    run("faulty", range(3, 5), float("inf"), counted)
    assert faults(counted.counts) == 1
    printed = capsys.readouterr().out
    assert "faulty 4: a fault: a silent wrong number" in printed
    assert "--kind faulty --seed 4 --count 1" in printed


def test_a_kind_whose_processes_do_not_start_ends_in_words(capsys):
    """After a few; what comes behind it is run all the same."""
    counted = Record()
    run("no_such_kind", range(9), float("inf"), counted)
    assert counted.counts == {("crash before the first case", "fault"): 3}
    printed = capsys.readouterr().out
    assert "No module named 'tests.robust.fuzz.no_such_kind'" in printed
    assert "3 in a row did not start: no_such_kind ends here" in printed


def test_a_run_that_was_stopped_goes_on_from_its_record(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(kinds.SHARES, "faulty", 1)
    monkeypatch.setattr(fuzz, "KINDS", ("faulty",))
    arguments = ["--kind", "faulty", "--seed", "10", "--record", str(tmp_path / "record.json")]
    assert fuzz.main([*arguments, "--count", "3"]) == 0
    assert fuzz.main([*arguments, "--count", "7"]) == 0
    kept = record.read(tmp_path / "record.json", 10)["faulty"]
    assert kept.counts == {("a case", "right"): 7}
    with pytest.raises(SystemExit):
        fuzz.main(["--record", str(tmp_path / "record.json")])
    assert "is of seed 10: remove it, or give that seed" in capsys.readouterr().err


def test_inputs_are_shared_among_the_kinds():
    assert sum(kinds.SHARES.values()) == 1_000_000
    assert kinds.shared(1000, ["arrays", "models"]) == {"arrays": 999, "models": 1}
