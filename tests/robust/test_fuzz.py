"""Hostile input of all kinds: the short form of ``make fuzz``."""

from __future__ import annotations

import pytest

from tests.robust.fuzz import children, files
from tests.robust.fuzz.__main__ import run

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("offline")]


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")


@pytest.mark.parametrize(
    ("group", "count"),
    [("model_doors", 10), ("run_doors", 80), ("data_doors", 39)],  # the second one is long
)
def test_changed_files_are_refused_or_read(group, count, tmp_path):
    case = files.begin(tmp_path, [group])
    outcomes = {case(number).outcome for number in range(count)}
    assert "refused" in outcomes


def test_a_case_that_ends_its_process_or_holds_it_is_told_and_the_others_go_on(capsys):
    found = list(children.answers("faulty", range(5), patience=3.0))
    assert [one.outcome or one.what for one in found] == [
        *("right", "crash", "hang of 3 s", "refused", "a fault")
    ]
    assert "Segmentation fault" in found[1].fault
    assert "time.sleep" in found[2].fault or "faulty.py" in found[2].fault
    assert found[4].fault == "a silent wrong number"
    assert run("faulty", range(3, 5), float("inf")) == 1
    assert "faulty 4: a fault: a silent wrong number" in capsys.readouterr().out
