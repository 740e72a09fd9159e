"""Code for each target: its own instructions and no others, on every system."""

from __future__ import annotations

import re
from functools import cache

import pytest

from convmill.lower.machine import TARGETS
from convmill.plan.recipe import Optimizer
from convmill.runtime import host
from convmill.runtime.emission import Emitted, emitted, triples
from convmill.runtime.program import Program
from tests.engine.nets import (
    conv,
    dense,
    depthwise,
    dropout,
    flatten,
    graph_of,
    pool,
    recipe_of,
    rescale,
)

# Direct and Winograd convolutions, lists of live places, and most of what is not arithmetic.
GRAPH = graph_of(
    (10, 9, 3),
    rescale(1 / 255, 0.0),
    conv(16, (3, 3), padding="same"),
    conv(40, (3, 3)),
    pool("max", (2, 2)),
    depthwise(activation="gelu"),
    dropout(0.5),
    flatten,
    dense(40, "tanh"),
    dense(10, "softmax"),
)
RECIPE = recipe_of("categorical_crossentropy", Optimizer("adam"))
EVERYWHERE = [(target, triple) for target in TARGETS for triple in triples(target)][::-1]
# Instructions that a target does not have, in LLVM's assembly.
FOREIGN = {
    "avx512": r"%tmm",
    "avx2": r"%zmm|%[xy]mm(1[6-9]|2\d|3\d)|%k[0-7]|\{1to\d+\}",
    "sse4": r"%[yz]mm|\tv[a-z]",
    "neon": r"%[xyz]mm",
}
MULTIPLY_ADDS = {
    "avx512": r"\tvfmadd\d+ps\t.*%zmm",
    "avx2": r"\tvfmadd\d+ps\t.*%ymm",
    "sse4": r"\tmulps\t",
    "neon": r"\tfmla(\.4s\tv|\tv\d+\.4s)",
}
CALLED = re.compile(r'\t(?:call[lq]?|jmp|bl|b|movabsq|adrp)\t(?:x\d+, )?[$]?"?_?([A-Za-z_][\w.]*)')
SYSTEM = {"memset", "memcpy", "bzero", "sched_yield"}  # what may be called that is not ours


@cache
def code_for(target: str, triple: str, training: bool = True) -> Emitted:
    """The net's code for a processor that this machine need not have."""
    return emitted(GRAPH, RECIPE if training else None, target, triple)


def called(assembly: str) -> set[str]:
    """What is called that the assembly does not define."""
    own = {name.lstrip("_") for name in re.findall(r'^"?([\w.@]+)"?:', assembly, re.MULTILINE)}
    found = {name.lstrip("_") for name in CALLED.findall(assembly)}
    constants = {name for name in found if name.startswith(("real", "xmm", "ymm", "zmm", "LCPI"))}
    return found - own - constants


@pytest.mark.parametrize(("target", "triple"), EVERYWHERE, ids=map("-".join, EVERYWHERE))
def test_a_net_is_emitted_for_every_system(target, triple):
    for training in (True, False):
        code = code_for(target, triple, training)
        assert not re.search(FOREIGN[target], code.assembly)
        assert re.search(MULTIPLY_ADDS[target], code.assembly)
        assert "sched_yield" in called(code.assembly) <= SYSTEM
        other = "llvm.x86" if TARGETS[target].architecture == "aarch64" else "llvm.aarch64"
        assert other not in code.source


@pytest.mark.parametrize("target", ["avx2", "sse4"])
def test_a_wider_processor_is_held_to_the_target(target):
    if target not in host.targets():
        pytest.skip("this processor does not run it")
    program = Program(GRAPH, RECIPE, machine=TARGETS[target])
    assembly = program.code("training").assembly
    assert not re.search(FOREIGN[target], assembly)
    assert re.search(MULTIPLY_ADDS[target], assembly)
    assert called(assembly) <= SYSTEM
