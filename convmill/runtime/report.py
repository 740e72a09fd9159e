"""What was compiled and how, as data: one row per stage, and the texts on request."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from convmill.kernels.operations import operation_of
from convmill.lower.choices import Narrow, Winograd
from convmill.lower.network import Network
from convmill.lower.slices import SLICES
from convmill.lower.stages import ConvolutionStage, DepthwiseStage, PlainStage, Stage
from convmill.plan.facts import multiply_adds, node_multiply_adds
from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.operations import Activate, Separable
from convmill.runtime.program import Kind, Program


@dataclass(frozen=True)
class StageReport:
    """One stage: what is fused in it, how it is tiled, and its multiply-adds for one image.

    ``dense`` counts what dense arithmetic costs (in training forward, input and weight gradient),
    ``done`` what is really done: the products of Winograd's tiles (their transforms, which are
    additions, aside); behind max pooling at most one place of a window has a gradient. Where a net
    has been trained, ``done`` counts the places that were live in the last batch, as far as their
    lists are kept for the gradients of weights.
    """

    name: str
    operation: str
    fused: tuple[str, ...]
    output_shape: tuple[int, ...]
    tiles: str
    dense: int
    done: int


@dataclass(frozen=True)
class ProgramReport:
    """A program as it was compiled, for a ``target`` (one of ``convmill.lower.machine.TARGETS``)
    whose vectors have so many ``lanes`` of float32. ``image_bytes`` are kept for each image of a
    batch, ``thread_bytes`` for each thread, ``sums_bytes`` for the sums of a batch's slices;
    seconds are of this process, in which the code was ``kept`` on disk or compiled."""

    stages: tuple[StageReport, ...]
    target: str
    lanes: int
    threads: int
    parameter_bytes: int
    image_bytes: int
    thread_bytes: int
    sums_bytes: int
    kept: bool
    build_seconds: float
    compile_seconds: float
    program: Program

    @property
    def dense(self) -> int:
        """Multiply-adds for one image with dense arithmetic."""
        return sum(stage.dense for stage in self.stages)

    @property
    def done(self) -> int:
        """Multiply-adds really done for one image."""
        return sum(stage.done for stage in self.stages)

    def ir(self, stage: str, kind: Kind = "training") -> str:
        """LLVM IR of one stage's kernels, optimized; ``kind`` is training or inference."""
        text = self.program.code(kind).optimized
        functions = re.findall(r"^define .*?^}", text, re.MULTILINE | re.DOTALL)
        return "\n\n".join(f for f in functions if self._belongs(f.split("(")[0], stage, kind))

    def assembly(self, stage: str, kind: Kind = "training") -> str:
        """The processor's instructions of one stage's kernels."""
        text = self.program.code(kind).assembly
        parts = re.split(r"^(?=\S+.*:\s*(?:[#/].*)?$)", text, flags=re.MULTILINE)
        kept, inside = [], False
        for part in parts:
            label = part.split(":", 1)[0]
            if not label.lstrip('"').startswith((".L", "L")):
                inside = self._belongs(label, stage, kind)
            if inside:
                kept.append(part)
        return "".join(kept)

    def _belongs(self, symbol: str, stage: str, kind: Kind) -> bool:
        """Whether a symbol is one of a stage's kernels; macOS puts an underscore before each.
        Raises KeyError for no such stage."""
        names = [row.name for row in self.stages]
        if stage not in names:
            raise KeyError(f"no stage {stage!r}; the stages are {', '.join(names)}")
        graph, network = self.program.graph, self.program.networks[kind]
        names = stage_names(network, graph)
        if stage in names:
            number = names.index(stage)
        else:  # in inference it is folded into another one
            inside = ({graph.nodes[node].name for node in one.nodes} for one in network.stages)
            number = next(at for at, known in enumerate(inside) if stage in known)
        return bool(re.search(rf"(^|[@\"\s])_?stage{number}\.[a-z_]+\"?$", symbol.strip()))


def report(program: Program) -> ProgramReport:
    """ProgramReport on a program; it is compiled for training where it has a recipe."""
    codes = [program.code("inference")]
    if program.recipe is not None:
        codes.append(program.code("training"))
    memory = codes[-1].memory
    size = program.network.parameter_elements
    kinds = 2 + len(program.recipe.optimizer.slots) if program.recipe else 1
    rows = zip(stage_names(program.network, program.graph), program.network.stages, strict=True)
    return ProgramReport(
        tuple(_row(program, number, *row) for number, row in enumerate(rows)),
        program.machine.target,
        program.machine.lanes,
        program.threads,
        4 * (size * kinds + program.network.pack_elements),
        memory.image_bytes,
        memory.thread_bytes * program.network.images_per_group + 4 * memory.scratch,
        memory.slice_bytes * SLICES,
        all(code.kept for code in codes),
        sum(code.build_seconds for code in codes),
        sum(code.compile_seconds for code in codes),
        program,
    )


def stage_names(network: Network, graph: Graph) -> list[str]:
    """The stages by the names of the graph's nodes; an activation that was split off its node, and
    each half of a separable convolution, have their own behind that."""
    names = []
    for stage in network.stages:
        name = graph.nodes[stage.nodes[0]].name
        if isinstance(stage, PlainStage) and isinstance(stage.operation, Activate) and stage.part:
            name = f"{name}/{stage.operation.activation.name}"
        elif isinstance(graph.nodes[stage.nodes[0]].operation, Separable):
            name = f"{name}/{'depthwise' if isinstance(stage, DepthwiseStage) else 'pointwise'}"
        names.append(name)
    return names


def _row(program: Program, number: int, name: str, stage: Stage) -> StageReport:
    tensor, operation = stage.output, operation_of(stage)
    shape = (tensor.height, tensor.width, tensor.channels)
    return StageReport(
        name,
        operation.words(stage),
        tuple(program.graph.nodes[node].name for node in stage.nodes[1:]),
        shape if shape[:2] != (1, 1) else shape[2:],
        operation.tiles(stage),
        *_multiply_adds(program, number, stage),
    )


def _multiply_adds(program: Program, number: int, stage: Stage) -> tuple[int, int]:
    """Multiply-adds for one image: with dense arithmetic, and really done."""
    if isinstance(stage, PlainStage):
        return 0, 0
    gradients = program.network.gradients[number]
    backward = gradients.input + gradients.weights if program.recipe is not None else 0
    dense = _dense(program.graph, stage) * (1 + backward)
    if not isinstance(stage, ConvolutionStage):
        return dense, dense
    assert stage.choice is not None
    done = forward_done(stage)
    if backward:
        places = stage.places * stage.pool[0] * stage.pool[1]
        live = program.live_places(number)
        if isinstance(stage.choice.weight_gradient, Narrow):
            live = float(places * stage.output.channels)  # all places, whatever is in them
        elif live is None:
            live = float(stage.places * stage.output.channels)
        done += round(backward * live * stage.taps)
    return dense, done


def _dense(graph: Graph, stage: Stage) -> int:
    """Multiply-adds forward, with dense arithmetic."""
    node = graph.nodes[stage.nodes[0]]
    if not isinstance(node.operation, Separable):
        return node_multiply_adds(graph, node)
    first, second = node.operation.depthwise, node.operation.pointwise
    (read,), middle = graph.read(node), (*node.shape[:-1], first.filters)
    if isinstance(stage, DepthwiseStage):
        return multiply_adds(first, read, middle)
    return multiply_adds(second, middle, node.shape)


def forward_done(stage: ConvolutionStage) -> int:
    """Multiply-adds of the forward pass as the chosen algorithm does it: Winograd's products, or
    every tap at every place that is computed."""
    assert stage.choice is not None
    if isinstance(stage.choice.forward, Winograd):
        tile = stage.choice.forward
        weights = stage.input.channels * stage.output.channels
        return tile.filtering.points * math.prod(tile.grid) * weights
    places = stage.computed[0] * stage.computed[1]
    return places * stage.output.channels * stage.taps
