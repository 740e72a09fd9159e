"""Stages, choices, launches and memory as text, for golden files and ``CONVMILL_DEBUG``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from convmill.lower.launches import Images, Launch, Phase, Slices, Step
from convmill.lower.lifetimes import Memory
from convmill.lower.network import Copy, Network
from convmill.lower.stages import (
    BatchNormalizationStage,
    ConvolutionStage,
    DenseStage,
    DepthwiseStage,
    PlainStage,
    Stage,
    TransposedStage,
    WindowedStage,
)
from convmill.lower.tensors import Tensor
from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.shapes import Pair


def graph_text(graph: Graph) -> str:
    """A line for each node, by the names that the user gave."""
    return "\n".join(
        f"{node.name}: {_data(node.operation)} of {', '.join(node.inputs) or 'images'} -> "
        f"{' x '.join(map(str, node.shape))}"
        for node in graph.nodes
    )


def network_text(network: Network) -> str:
    """A line for each stage with a line for its choice, and one for each parameter."""
    lines = []
    for number, (stage, wanted) in enumerate(zip(network.stages, network.gradients, strict=True)):
        names = [name for name in ("input", "weights") if getattr(wanted, name)]
        gradients = f", gradients of {' and '.join(names)}" if names else ""
        lines.append(f"stage{number}: {_stage(stage)}{gradients}")
        if not isinstance(stage, (PlainStage, BatchNormalizationStage)):
            lines.append(f"    {_data(stage.choice)}")
    for matrix in network.matrices:
        kinds = {"copy": matrix.pack, "transformed": matrix.transform, "turned": matrix.turned}
        copies = "".join(f", {_copy(kind, one)}" for kind, one in kinds.items() if one is not None)
        trained = "" if matrix.trainable else ", frozen"
        lines.append(
            f"matrix{matrix.index}: {matrix.rows} x {matrix.columns} at {matrix.offset}"
            f"{copies}{trained}"
        )
    return "\n".join(lines)


def _copy(kind: str, copy: Copy) -> str:
    points = f", points {copy.point}" if copy.filtering is not None else ""
    return f"{kind} at {copy.start} (columns {copy.column}, vectors {copy.vector}{points} apart)"


def _stage(stage: Stage) -> str:
    read = ", ".join(_tensor(tensor) for tensor in stage.inputs)
    return f"{_operation(stage)}: {read} -> {_tensor(stage.output)}"


def _operation(stage: Stage) -> str:
    match stage:
        case WindowedStage():
            kinds = {DepthwiseStage: "depthwise", TransposedStage: "transposed convolution"}
            words = [f"{kinds.get(type(stage), 'convolution')} {_by(stage.kernel_size)}"]
            if stage.strides != (1, 1):
                words.append(f"strides {_by(stage.strides)}")
            if stage.dilation != (1, 1):
                words.append(f"dilation {_by(stage.dilation)}")
            if isinstance(stage, ConvolutionStage) and stage.groups > 1:
                words.append(f"groups {stage.groups}")
            if isinstance(stage, ConvolutionStage) and stage.pooled:
                words.append(f"max {_by(stage.pool)}")
            return " ".join([*words, stage.activation.name])
        case BatchNormalizationStage():
            words = ["batch normalization", "frozen" if stage.frozen else "", stage.activation.name]
            return " ".join(word for word in words if word)
        case DenseStage():
            return f"dense {stage.activation.name}"
    return _data(stage.operation)


def _by(pair: Pair) -> str:
    return "x".join(map(str, pair))


def _tensor(tensor: Tensor) -> str:
    size = f"{tensor.height}x{tensor.width}x{tensor.channels}"
    border = f" in a border of {','.join(map(str, tensor.halo))}" if any(tensor.halo) else ""
    return f"{size} ({tensor.buffer}){border}"


def _data(value: Any) -> str:
    """A dataclass as its name and what it holds; empty tuples are left out."""
    if not is_dataclass(value):
        return str(value)
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    held = (f"{name}={_data(one)}" for name, one in found.items() if one != ())
    return f"{type(value).__name__}({', '.join(held)})"


def step_text(step: Step, memory: Memory) -> str:
    """A block for each phase, a line for each launch, then the places of slots."""
    lines = []
    for title, phases in (("call", step.call), ("part", step.part), ("batch", step.batch)):
        for phase in phases:
            lines += [f"each {title}, over {'images' if phase.over_images else 'shares'}:"]
            lines += _phase(phase)
    lines.append(
        f"memory: {memory.image_bytes:,} bytes an image, {memory.thread_bytes:,} bytes an image of "
        f"a thread's group, {memory.slice_bytes:,} bytes a slice, "
        f"{memory.scratch:,} floats of scratch"
    )
    for name, place in sorted(memory.places.items(), key=lambda one: (one[1].home, one[1].offset)):
        lines.append(f"    {place.home} {place.offset:>8,} {place.bytes:>8,} {name}")
    return "\n".join(lines)


def _phase(phase: Phase) -> Iterator[str]:
    for work in phase.works:
        for number, launch in enumerate(work):
            joined = number and not phase.over_images
            yield f"    {'then ' if joined else ''}{_launch(launch)}"


def _launch(launch: Launch) -> str:
    reads, writes = (
        ", ".join(slot.name for slot in slots) for slots in (launch.reads, launch.writes)
    )
    if isinstance(launch.over, Slices):
        over = " (by slices)"
    elif isinstance(launch.over, Images):
        over = " (a group together)" if launch.over.together else ""
    else:
        over = f" ({launch.over.total} by {launch.over.multiple})"
    wanted = f" if there are {launch.wanted}" if launch.wanted else ""
    again = " again" if launch.again else ""
    return f"{launch.of} {launch.kernel}{again}{over}{wanted}: {reads} -> {writes}"
