"""What was compiled and how, as data: one row per stage, and the texts on request."""

from __future__ import annotations

import re
from dataclasses import dataclass

from convmill.lower.buffers import layout_of
from convmill.lower.schedule import (
    forward_tile,
    is_narrow,
    product_tile,
    taps_at_once,
    weight_tile,
    window_chunk,
)
from convmill.lower.stages import (
    ActivationStage,
    ConvolutionStage,
    DenseStage,
    DropoutStage,
    PoolingStage,
    RescaleStage,
    Stage,
)
from convmill.runtime.program import Kind, Program
from convmill.runtime.work import forward_multiply_adds


@dataclass(frozen=True)
class StageReport:
    """One stage: what is fused in it, how it is tiled, and its multiply-adds for one image.

    ``dense`` counts what dense arithmetic costs (in training forward, input and weight gradient),
    ``done`` what is really done: behind max pooling at most one place of a window has a gradient.
    Where a net has been trained, ``done`` counts the places that were live in the last batch.
    """

    name: str
    operation: str
    fused: tuple[str, ...]
    output_shape: tuple[int, ...]
    tiles: str
    dense: int
    done: int


@dataclass(frozen=True)
class Report:
    """A program as it was compiled. Bytes are of buffers, seconds of this process."""

    stages: tuple[StageReport, ...]
    lanes: int
    threads: int
    parameter_bytes: int
    record_bytes: int
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
        return "\n\n".join(f for f in functions if self._belongs(f.split("(")[0], stage))

    def assembly(self, stage: str, kind: Kind = "training") -> str:
        """The processor's instructions of one stage's kernels."""
        text = self.program.code(kind).assembly
        parts = re.split(r"^(?=\S+.*:\s*(?:[#/].*)?$)", text, flags=re.MULTILINE)
        kept, inside = [], False
        for part in parts:
            label = part.split(":", 1)[0]
            if not label.lstrip('"').startswith((".L", "L")):
                inside = self._belongs(label, stage)
            if inside:
                kept.append(part)
        return "".join(kept)

    def _belongs(self, symbol: str, stage: str) -> bool:
        """Whether a symbol is one of a stage's kernels. Raises KeyError for no such stage."""
        names = [row.name for row in self.stages]
        if stage not in names:
            raise KeyError(f"no stage {stage!r}; the stages are {', '.join(names)}")
        return bool(re.search(rf"(^|[@\"\s]){re.escape(stage)}\.[a-z_]+\"?$", symbol.strip()))


def report(program: Program) -> Report:
    """Report on a program; it is compiled for training where it has a recipe."""
    training = program.recipe is not None
    codes = [program.code("inference")]
    if training:
        codes.append(program.code("training"))
    layout = layout_of(program.network, training)
    rows = tuple(_row(program, index, stage) for index, stage in enumerate(program.network.stages))
    size = program.network.parameter_elements
    kinds = 2 + len(program.recipe.optimizer.slots) if program.recipe else 1
    return Report(
        rows,
        program.machine.lanes,
        program.threads,
        4 * (size * kinds + program.network.pack_elements),
        layout.length,
        sum(code.build_seconds for code in codes),
        sum(code.compile_seconds for code in codes),
        program,
    )


def _row(program: Program, index: int, stage: Stage) -> StageReport:
    tensor = stage.output
    shape = (tensor.height, tensor.width, tensor.channels)
    dense, done = _multiply_adds(program, index, stage)
    return StageReport(
        stage.name,
        _operation(stage),
        stage.fused if isinstance(stage, (ConvolutionStage, DenseStage)) else (),
        shape if shape[:2] != (1, 1) else shape[2:],
        _tiles(program, index, stage),
        dense,
        done,
    )


def _operation(stage: Stage) -> str:
    """What a stage computes, in a few words."""
    match stage:
        case ConvolutionStage():
            size = "x".join(map(str, stage.kernel_size))
            words = [f"conv {size}"]
            if stage.activation.name != "linear":
                words.append(stage.activation.name)
            if stage.pooled:
                words.append(f"max {'x'.join(map(str, stage.pool))}")
            return " + ".join(words)
        case DenseStage():
            name = stage.activation.name
            return "dense" if name == "linear" else f"dense + {name}"
        case PoolingStage():
            return f"{stage.kind} pooling {'x'.join(map(str, stage.pool_size))}"
        case ActivationStage():
            return stage.activation.name
        case DropoutStage():
            return f"dropout {stage.rate:g}"
        case RescaleStage():
            return "rescale"


def _tiles(program: Program, index: int, stage: Stage) -> str:
    """Register tiles of a stage's kernels, in words."""
    machine = program.machine
    if isinstance(stage, DenseStage):
        forward = product_tile(stage.output.channels, machine)
        text = f"{forward.rows} images x {forward.vectors}"
        if program.recipe is None:
            return text
        back = weight_tile(stage, machine)
        return f"{text}; dW {back.rows} inputs x {back.vectors}"
    if not isinstance(stage, ConvolutionStage):
        return ""
    tile = forward_tile(stage, machine)
    places = tile.rows * tile.windows * stage.pool[0] * stage.pool[1]
    text = f"{places} places x {tile.vectors}"
    if program.recipe is None:
        return text
    if index == program.network.first_backward and is_narrow(stage):
        return f"{text}; dW {taps_at_once(stage, machine)} taps"
    chunk = window_chunk(stage, machine)
    return f"{text}; dX dW {chunk.rows} rows x {chunk.vectors}"


def _multiply_adds(program: Program, index: int, stage: Stage) -> tuple[int, int]:
    """Multiply-adds for one image: with dense arithmetic, and really done."""
    if not isinstance(stage, (ConvolutionStage, DenseStage)):
        return 0, 0
    network, training = program.network, program.recipe is not None
    forward = forward_multiply_adds(program.graph, program.graph.node(stage.name))
    backward = int(index > network.first_backward) + int(network.trains(stage))
    backward = backward if training else 0
    dense = forward * (1 + backward)
    if isinstance(stage, DenseStage):
        return dense, dense
    pooled = stage.places * stage.pool[0] * stage.pool[1] * stage.output.channels * stage.taps
    if index == network.first_backward and is_narrow(stage):
        return dense, pooled * (1 + backward)
    live = program.live_places(stage.name)
    if live is None:
        live = stage.places * stage.output.channels
    return dense, pooled + round(backward * live * stage.taps)
