"""Code for each target: its own instructions and no others, on every system."""

from __future__ import annotations

import re
import sys
from functools import cache

import pytest

from benchmarks.assembly import Loop, innermost
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
PRODUCTS = {
    *("direct_forward", "depthwise_forward", "dense_forward", "live_input_gradient"),
    *("live_weight_gradient", "narrow_weight_gradient", "dense_weight_gradient"),
    *("depthwise_input_gradient", "depthwise_weight_gradient", "dense_input_gradient"),
}
MEMORY = {"memset", "memcpy", "bzero"}  # what may be called that is not ours


def waits(system: str) -> str:
    """What a thread calls that waits for others: a futex where there are some."""
    return "syscall" if "linux" in system else "sched_yield"


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
        assert called(code.assembly) - MEMORY == {waits(triple)}
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
    assert called(assembly) - MEMORY == {waits(sys.platform)}


@pytest.mark.parametrize("target", ["neon", "avx2"])
def test_products_stay_in_registers(target):
    """A turn moves at most one vector to the stack and back for ten multiply-adds."""
    loops = [
        loop
        for loop in innermost(code_for(target, triples(target)[0]).assembly)
        if loop.multiply_adds and loop.function.rpartition(".")[2] in PRODUCTS
    ]
    assert {loop.function.rpartition(".")[2] for loop in loops} == PRODUCTS
    assert [loop for loop in loops if 10 * loop.spills > loop.multiply_adds] == []


LOOPS = {
    "x86": """\
stage0.direct_forward:                  # @stage0.direct_forward
# %bb.0:                                # %entry.1
\tvmovups\t%ymm1, 32(%rsp)                # 32-byte Spill
.LBB7_1:                                # %body.2
                                        # =>This Loop Header: Depth=1
                                        #     Child Loop BB7_2 Depth 2
\txorl\t%eax, %eax
.LBB7_2:                                # %body.3
                                        #   Parent Loop BB7_1 Depth=1
                                        # =>  This Inner Loop Header: Depth=2
\tvfmadd231ps\t32(%rsp), %ymm1, %ymm0     # 32-byte Folded Reload
\tvfmadd231ps\t(%rax), %ymm1, %ymm2
\tmovq\t8(%rsp), %rax                     # 8-byte Reload
# %bb.3:                                # %done
                                        #   in Loop: Header=BB7_2 Depth=2
\tjb\t.LBB7_2
# %bb.4:                                # %done
                                        #   in Loop: Header=BB7_1 Depth=1
\tvaddps\t%ymm1, %ymm1, %ymm0
""",
    "neon": """\
_stage0.direct_forward:                 ; @stage0.direct_forward
; %bb.0:                                ; %entry.1
\tmov\tx8, xzr
LBB7_2:                                 ; %body.3
                                        ; =>This Inner Loop Header: Depth=1
\tfmla.4s\tv0, v1, v2
\tldr\tq1, [sp, #48]                      ; 16-byte Folded Reload
\tldr\tx9, [sp, #8]                       ; 8-byte Folded Reload
\tfmla\tv0.4s, v1.4s, v2.s[1]
; %bb.3:                                ; %done
\tret
""",
}


@pytest.mark.parametrize("text", LOOPS.values(), ids=LOOPS)
def test_what_is_read_of_a_loop(text):
    assert innermost(text) == [Loop("stage0.direct_forward", 4, 2, 1)]
