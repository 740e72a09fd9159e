"""What the passes make of each net of the benchmark, as text: a change shows what it does to all.

``pytest tests/lower --update-golden`` writes the texts anew.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from benchmarks.nets import NETS
from benchmarks.workers.keras_nets import build
from convmill.lower.machine import TARGETS, Machine
from convmill.lower.passes import lower
from convmill.lower.text import network_text, step_text
from convmill.plan.graph.nodes import Graph
from convmill.plan.read import read
from convmill.plan.recipe import Loss, Optimizer, one_goal
from convmill.plan.refusals import NotCovered
from convmill.runtime.jit import planned

GOLDEN = Path(__file__).parent / "golden"
MACHINES = {name: TARGETS[name] for name in ("avx2", "avx512")}


@cache
def graph_of(name: str) -> Graph | NotCovered:
    """The graph of a net, or why it is not compiled."""
    try:
        return read(build(NETS[name])).graph
    except NotCovered as gap:
        return gap


def text_of(name: str, graph: Graph, machine: Machine) -> str:
    """Stages and choices, then the steps of training and of inference with their memory."""
    optimizer = Optimizer(NETS[name].optimizer)
    recipe = one_goal(Loss("categorical_crossentropy"), optimizer, "categorical")
    network = lower(graph, recipe, machine)
    parts = [network_text(network)]
    for kind in ("training", "inference"):
        step, memory = planned(network, machine, kind == "training")
        parts.append(f"{kind}\n{step_text(step, memory)}")
    return "\n\n".join(parts) + "\n"


@pytest.mark.parametrize("width", MACHINES)
@pytest.mark.parametrize("name", NETS)
def test_golden_text(name: str, width: str, update_golden: bool) -> None:
    graph = graph_of(name)
    if isinstance(graph, NotCovered):
        pytest.skip(f"not compiled yet: {graph.reason}")
    text = text_of(name, graph, MACHINES[width])
    file = GOLDEN / f"{name}-{width}.txt"
    if update_golden:
        file.write_text(text)
    assert file.is_file(), "no golden text: run pytest tests/lower --update-golden"
    assert text == file.read_text()


@pytest.mark.parametrize("target", sorted(TARGETS.keys() - MACHINES.keys()))
def test_other_targets_pass_the_checks_between_passes(target: str) -> None:
    for name in NETS:
        graph = graph_of(name)
        assert isinstance(graph, Graph)
        assert text_of(name, graph, TARGETS[target])
