"""Results back from JSON."""

from __future__ import annotations

import json

import pytest

from convmill.plain_json import json_text
from convmill.study.plain import from_plain
from convmill.study.result import Run, StudyResult
from tests.page import studies


@pytest.mark.parametrize("name", ["pooling", "efficiency", "translation", "unfinished", "single"])
def test_a_result_comes_back_whole_from_json(name):
    result = getattr(studies, name)()
    text = json_text(result.to_dict())
    back = StudyResult.from_dict(json.loads(text))
    assert json_text(back.to_dict()) == text
    assert (back.arms, back.vary, back.axes) == (result.arms, result.vary, result.axes)


@pytest.mark.parametrize(
    "change",
    [
        {"arm": 3},
        {"seed": True},
        {"seed": 1.5},
        {"values": [1]},
        {"values": {"accuracy": "high"}},
        {"maps": {"accuracy": [1.0]}},
        {"axes": {"accuracy": [{"label": "x", "values": []}]}},
    ],
)
def test_what_is_no_result_is_refused(change):
    plain = {"arm": "max", "seed": 1, "values": {"accuracy": 0.5}}
    with pytest.raises(ValueError, match=r"must be|argument"):
        from_plain(Run, plain | change)


def test_a_field_without_a_default_is_missed():
    with pytest.raises(ValueError, match=r"^there is no 'values'$"):
        from_plain(Run, {"arm": "max", "seed": 1})
