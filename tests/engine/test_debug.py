"""CONVMILL_DEBUG prints what is on the way, as far as it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.nets import conv, dense, flatten, graph_of, parameters, program_of, recipe_of

WORDS = ["convolution1:", "stage0: convolution 3x3", "each part, over images", "define"]


@pytest.mark.parametrize("level", range(5))
def test_each_level_prints_one_thing_more(level, monkeypatch, capsys):
    monkeypatch.setenv("CONVMILL_DEBUG", str(level))
    graph = graph_of((6, 6, 1), conv(3 + level), flatten, dense(2, "softmax"))
    recipe = recipe_of("categorical_crossentropy")
    program = program_of(graph, recipe, parameters(np.random.default_rng(0), graph))
    program.code("training")
    printed = capsys.readouterr().err
    assert [word for word in WORDS if word in printed] == WORDS[:level]


def test_another_value_is_refused(monkeypatch):
    monkeypatch.setenv("CONVMILL_DEBUG", "5")
    graph = graph_of((6, 6, 1), flatten, dense(2))
    with pytest.raises(ValueError, match="CONVMILL_DEBUG must be 0 to 4"):
        program_of(graph, None, [])
