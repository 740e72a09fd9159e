"""The code of a net for any target, whatever this machine is: its innermost loops, or all of it.

    python -m benchmarks.assembly --net notebook --target neon [--triple arm64-apple-darwin]

lists the innermost loops of each kernel that multiply and add vectors: how many instructions a turn
takes, how many of them multiply and add, and how many move vectors to the stack and back for want
of registers. Nothing is run. ``--text`` prints all instructions instead, with LLVM's comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import click

from benchmarks.nets import NETS
from convmill.lower.machine import TARGETS
from convmill.plan.read import read
from convmill.plan.recipe import Loss, Optimizer, one_goal
from convmill.runtime.emission import emitted, triples

# A multiply-add of vectors; without FMA the addition.
MULTIPLY_ADD = re.compile(r"\tvfn?m(add|sub)\d+ps\b|\taddps\b|\tfml[as](\.4s\tv|\tv\d+\.4s)")
SPILL = re.compile(r"\b(q\d+|[xyz]mm\d+)\b.* (Spill|Reload)$")
INSTRUCTION = re.compile(r"\t[a-z]")
FUNCTION = re.compile(r'"?_?([a-z][\w.]*)"?:')
# What LLVM says of a block of instructions, in its first lines.
BLOCK = re.compile(r"\.?L?(BB\d+_\d+):|[#/;]+ %bb\.\d+:")
HEADER = re.compile(r"=>\s*This (Inner )?Loop Header")
INSIDE = re.compile(r"in Loop: Header=(BB\d+_\d+)")


@dataclass(frozen=True)
class Loop:
    """An innermost loop of a kernel: the ``instructions`` of one turn; of these those that multiply
    and add vectors, and those that move vectors to the stack and back."""

    function: str
    instructions: int = 0
    multiply_adds: int = 0
    spills: int = 0


def innermost(assembly: str) -> list[Loop]:
    """The innermost loops of all functions, from assembly with LLVM's comments."""
    loops: dict[str, Loop] = {}
    function, block, header = "", "", ""  # header: of the loop that the block is in
    for line in assembly.splitlines():
        if found := BLOCK.match(line):
            block, header = found[1] or "", ""
        elif found := FUNCTION.match(line):
            function, header = found[1], ""
        if found := HEADER.search(line):
            header = block
            if found[1]:
                loops[header] = Loop(function)
        elif found := INSIDE.search(line):
            header = found[1]
        if header in loops and INSTRUCTION.match(line):
            loop = loops[header]
            loops[header] = replace(
                loop,
                instructions=loop.instructions + 1,
                multiply_adds=loop.multiply_adds + bool(MULTIPLY_ADD.search(line)),
                spills=loop.spills + bool(SPILL.search(line)),
            )
    return list(loops.values())


@click.command(context_settings={"show_default": True})
@click.option("--net", type=click.Choice(list(NETS)), default="notebook")
@click.option("--target", type=click.Choice(list(TARGETS)), default="neon")
@click.option("--triple", help="The system, as LLVM names it; Linux if not given.")
@click.option("--inference", is_flag=True, help="Instead of training.")
@click.option("--text", is_flag=True, help="All instructions.")
def main(net: str, target: str, triple: str | None, inference: bool, text: bool) -> None:
    """Show the code of a net for a target that this machine need not have."""
    from benchmarks.workers.keras_nets import build  # brings Keras

    known = triples(target)
    if triple is not None and triple not in known:
        raise click.BadParameter(f"{triple!r} is none of {', '.join(known)}.")
    recipe = one_goal(
        Loss("categorical_crossentropy"), Optimizer(NETS[net].optimizer), "categorical"
    )
    graph = read(build(NETS[net])).graph
    code = emitted(graph, None if inference else recipe, target, triple or known[0])
    if text:
        click.echo(code.assembly)
        return
    click.echo("multiply-adds, spills and all instructions of a turn")
    for loop in innermost(code.assembly):
        if loop.multiply_adds:
            click.echo(
                f"{loop.function:40} {loop.multiply_adds:4} {loop.spills:4} {loop.instructions:4}"
            )


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.assembly")
