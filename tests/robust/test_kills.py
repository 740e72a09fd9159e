"""Processes killed at random moments while they write: the short form of ``make soak``."""

from __future__ import annotations

import os
import random

import pytest

from tests.robust.kills import check, kill

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")

LONG = pytest.mark.long
WRITTEN = [("files", 4), ("checkpoints", 2)]
WRITTEN += [pytest.param(kind, 2, marks=LONG) for kind in ("models", "weights")]


def killed(kind, times, start, folder):
    chance = random.Random(1)
    for _ in range(times):
        kill(kind, folder, chance, start)
        check(kind, folder)


@pytest.mark.parametrize(("kind", "times"), WRITTEN)
def test_what_is_left_is_whole(kind, times, start, tmp_path):
    killed(kind, times, start, tmp_path)


def test_a_data_set_is_fetched_by_the_next_process(start, tmp_path):
    killed("downloads", 2, start, tmp_path)


def test_a_study_goes_on_and_its_workers_end(start, tmp_path):
    killed("studies", 1, start, tmp_path)


def test_kept_code_and_choices_are_whole_or_not_there(start, tmp_path):
    killed("code", 2, start, tmp_path)
