"""docs/studies/README.md names every key, every measure and every design."""

from __future__ import annotations

import re
from pathlib import Path

from convmill.study import arm_spec, settings, spec, vary
from convmill.study.designs import DESIGNS
from convmill.study.measures import MEASURES
from convmill.study.measures.probe import KEYS as PROBE_KEYS

PAGE = Path(__file__).parents[2] / "docs" / "studies" / "README.md"


def test_what_a_study_may_say_is_written_down():
    page = re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL)
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", page))))
    known = {*spec.KEYS, *arm_spec.ARM_KEYS, *vary.VARY_KEYS, *arm_spec.MATCH_KEYS, *spec.ANSWERS}
    known |= {*settings.DATA_KEYS, *settings.TRAINING_KEYS, *settings.PLACES, *settings.DECAYS}
    known |= {*settings.ENGINES, arm_spec.DRAWN, arm_spec.KEPT, *MEASURES, *DESIGNS, *PROBE_KEYS}
    assert known - told == set()
