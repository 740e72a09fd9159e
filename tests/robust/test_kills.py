"""Processes killed at random moments while they write: the short form of ``make soak``."""

from __future__ import annotations

import os

import pytest

from tests.robust.kills.children import Wrong, check
from tests.robust.kills.kinds import KINDS
from tests.robust.kills.turns import take_turns

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")


@pytest.mark.parametrize("turns", [1, pytest.param(4, marks=pytest.mark.long)])
def test_what_killed_processes_leave_is_whole(tmp_path, turns):
    counts = take_turns(list(KINDS), turns * len(KINDS), 1, tmp_path)
    assert all(count.kills for count in counts.values())
    assert [fault for count in counts.values() for fault in count.faults] == []


def test_a_torn_file_is_found(tmp_path):
    (tmp_path / "file").write_bytes(bytes(1000))
    with pytest.raises(Wrong, match="assert len"):
        check("files", tmp_path)
