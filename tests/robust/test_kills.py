"""Processes killed at random moments while they write: the short form of ``make soak``."""

from __future__ import annotations

import os
import random

import pytest

from tests.robust.kills import check, kill

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")

LONG = pytest.mark.long
KINDS = [("files", 4), ("checkpoints", 2), pytest.param("models", 2, marks=LONG)]
KINDS += [pytest.param("weights", 2, marks=LONG)]


@pytest.mark.parametrize(("kind", "times"), KINDS)
def test_what_is_left_is_whole(kind, times, start, tmp_path):
    chance = random.Random(1)
    for _ in range(times):
        kill(kind, tmp_path, chance, start)
        check(kind, tmp_path)
