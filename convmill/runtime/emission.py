"""Code for a target that this processor need not have: text to be read, never to be run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import llvmlite.binding as llvm

from convmill.kernels.run import build_program
from convmill.lower.machine import TARGETS
from convmill.lower.passes import lower
from convmill.plan.graph.nodes import Graph
from convmill.plan.recipe import Recipe
from convmill.runtime import jit, machine_code

# The least processor of each target, by what LLVM calls it.
PROCESSORS = {
    "avx512": "x86-64-v4",
    "avx2": "x86-64-v3",
    "sse4": "x86-64-v2",
    "neon": "generic",  # Armv8-A
}
# Systems by LLVM's name for them, and by Python's.
TRIPLES = {
    "x86_64": {
        "x86_64-unknown-linux-gnu": "linux",
        "x86_64-apple-darwin": "darwin",
        "x86_64-pc-windows-msvc": "win32",
    },
    "aarch64": {"aarch64-unknown-linux-gnu": "linux", "arm64-apple-darwin": "darwin"},
}


@dataclass(frozen=True)
class Emitted:
    """LLVM IR as the kernels wrote it, the same with variables in registers, and the processor's
    instructions with LLVM's own comments on loops and spills."""

    source: str
    optimized: str
    assembly: str


def triples(target: str) -> tuple[str, ...]:
    """The systems that a target's code can be emitted for, as LLVM names them."""
    return tuple(TRIPLES[TARGETS[target].architecture])


def emitted(graph: Graph, recipe: Recipe | None, target: str, triple: str) -> Emitted:
    """The code of a net for the least processor of a ``target`` and a system; for training where
    there is a ``recipe``, else for inference. Each launch has a function of its own.

    Raises KeyError for no such target or system, and NotCovered where LLVM refuses the code.
    """
    machine, training = TARGETS[target], recipe is not None
    machine = replace(machine, system=TRIPLES[machine.architecture][triple])
    network = lower(graph, recipe, machine, training=training)
    step, memory = jit.planned(network, machine, training)
    source = build_program(network, step, memory, machine, training, share=False).text()
    described = _target_machine(target, triple)
    optimized = str(machine_code.optimized(source, described))
    return Emitted(source, optimized, machine_code.assembly(optimized, described))


def _target_machine(target: str, triple: str) -> llvm.TargetMachine:
    """LLVM's description of the least processor that has the target."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    features = "-prefer-256-bit" if TARGETS[target].architecture == "x86_64" else ""
    found = llvm.Target.from_triple(triple).create_target_machine(
        cpu=PROCESSORS[target], features=features, opt=3
    )
    found.set_asm_verbosity(True)
    return found
