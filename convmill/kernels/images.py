"""What happens to a group of images: gathered, forward stage by stage, loss, backward.

Each image is computed alone in its record; a group only shares weights that are in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from convmill.kernels import convolution, dense, elementwise, live, pooling
from convmill.kernels.context import field
from convmill.kernels.gather import gather, scatter
from convmill.kernels.lang import F32, I8, I32, I64, POINTER, Emitter, Index
from convmill.kernels.loss import loss, through_softmax
from convmill.lower.buffers import Layout
from convmill.lower.schedule import (
    Machine,
    forward_tile,
    product_tile,
    window_chunk,
)
from convmill.lower.stages import (
    ActivationStage,
    ConvolutionStage,
    DenseStage,
    DropoutStage,
    Network,
    PoolingStage,
    RescaleStage,
    Stage,
)


@dataclass(frozen=True)
class Build:
    """What every emitting function needs: the module being filled and the lowered net."""

    module: ir.Module
    network: Network
    layout: Layout
    machine: Machine
    training: bool


@dataclass(frozen=True)
class Group:
    """A group of images inside the function being written: where their records start, how many
    they are, and where they stand in the batch and in the order of all images."""

    e: Emitter
    context: ir.Value
    records: ir.Value
    images: Index
    in_batch: Index
    position: Index
    step: Index
    scale: ir.Value


Kernel = Callable[[Group], None]


def slot(build: Build, record: ir.Value, name: str, e: Emitter) -> ir.Value:
    """Address of a slot of the record; any address where the slot is not kept."""
    known = build.layout.slots.get(name)
    return record if known is None else e.at(record, known.offset, I8)


def each_image(build: Build, group: Group, body: Callable[[Index, ir.Value], None]) -> None:
    """``body(number in the group, record)`` for each image."""
    e = group.e
    with e.loop(0, group.images) as image:
        body(image, e.at(group.records, e.mul(image, build.layout.length), I8))


def parameter(build: Build, e: Emitter, base: ir.Value, index: int | None) -> ir.Value:
    """Address of a parameter (or its gradient) in a flat array; any address for None."""
    return base if index is None else e.at(base, build.network.matrices[index].offset)


def pack(build: Build, e: Emitter, context: ir.Value, index: int) -> ir.Value:
    """Address of a parameter's transposed copy."""
    place = build.network.matrices[index].pack
    assert place is not None
    return e.at(field(e, context, "packs"), place)


def read_images(build: Build) -> Kernel:
    """Gather the group's images."""
    kernel = gather(build.module, build.network.input, build.machine.lanes)
    name = f"value/{build.network.input.buffer}"

    def run(group: Group) -> None:
        e = group.e
        order, images = field(e, group.context, "order"), field(e, group.context, "images")
        stride, kind = (field(e, group.context, name) for name in ("image_stride", "image_type"))

        def one(image: Index, record: ir.Value) -> None:
            number = e.load_scalar(order, e.add(group.position, image), I64)
            source = e.at(images, e.mul(number, stride), I8)
            e.call(kernel, source, kind, slot(build, record, name, e))

        each_image(build, group, one)

    return run


def write_outputs(build: Build) -> Kernel:
    """Hand the group's predictions out, where they are wanted."""
    tensor = build.network.output
    kernel = scatter(build.module, tensor, build.machine.lanes)

    def run(group: Group) -> None:
        e = group.e
        wanted = e.builder.icmp_signed(
            "!=", field(e, group.context, "has_outputs"), ir.Constant(I64, 0)
        )
        with e.when(wanted):
            outputs = field(e, group.context, "outputs")

            def one(image: Index, record: ir.Value) -> None:
                target = e.at(outputs, e.mul(e.add(group.position, image), tensor.values))
                e.call(kernel, slot(build, record, f"value/{tensor.buffer}", e), target)

            each_image(build, group, one)

    return run


def measure(build: Build) -> Kernel:
    """Loss of each image, and in training its gradient."""
    network, recipe = build.network, build.network.recipe
    assert recipe is not None
    past = through_softmax(network)
    target = network.stages[-1].input if past else network.output
    derive = build.training and network.first_backward < len(network.stages)
    classes = network.output.values
    kernel = loss(build.module, recipe, classes, past, derive, build.machine.lanes)

    def run(group: Group) -> None:
        e = group.e
        order, labels, weights, losses, correct = (
            field(e, group.context, name)
            for name in ("order", "labels", "weights", "losses", "correct")
        )

        def one(image: Index, record: ir.Value) -> None:
            position = e.add(group.position, image)
            number = e.load_scalar(order, position, I64)
            label = (
                e.at(labels, number, I32) if recipe.loss.sparse
                else e.at(labels, e.mul(number, classes))
            )
            e.call(
                kernel, slot(build, record, f"value/{network.output.buffer}", e), label,
                e.load_scalar(weights, number), group.scale, e.at(losses, position),
                e.at(correct, position), slot(build, record, f"gradient/{target.buffer}", e),
            )

        each_image(build, group, one)

    return run


def forward(build: Build, stage: Stage) -> Kernel:
    """One stage forward, for every image of a group."""
    match stage:
        case ConvolutionStage():
            return _convolution_forward(build, stage)
        case DenseStage():
            return _dense_forward(build, stage)
        case DropoutStage() if build.training:
            return _dropout(build, stage, backward=False)
    module, lanes = build.module, build.machine.lanes
    match stage:
        case PoolingStage():
            kernel = pooling.forward(module, stage, lanes, keeps(build, f"argmax/{stage.name}"))
            names = _names(stage, f"argmax/{stage.name}")
        case ActivationStage():
            kernel, names = elementwise.activation_forward(module, stage, lanes), _names(stage)
        case RescaleStage():
            kernel, names = elementwise.rescale(module, stage, lanes, False), _names(stage)
        case DropoutStage():
            kernel, names = elementwise.copy(module, stage, lanes), _names(stage)
    return _with_slots(build, kernel, names)


def backward(build: Build, stage: Stage, with_input: bool) -> list[Kernel]:
    """One stage backward: gradients of its output to live places and, ``with_input``, its input."""
    module, lanes = build.module, build.machine.lanes
    out, into = f"gradient/{stage.output.buffer}", f"gradient/{stage.input.buffer}"
    match stage:
        case ConvolutionStage():
            return _convolution_backward(build, stage, with_input)
        case DenseStage():
            return _dense_backward(build, stage, with_input)
    if not with_input:
        return []
    match stage:
        case DropoutStage():
            return [_dropout(build, stage, backward=True)]
        case PoolingStage():
            kernel = pooling.backward(module, stage, lanes)
            names = [out, f"argmax/{stage.name}", into]
        case ActivationStage():
            kernel = elementwise.activation_backward(module, stage, lanes)
            names = [*_names(stage), out, into]
        case RescaleStage():
            kernel, names = elementwise.rescale(module, stage, lanes, True), [out, into]
    return [_with_slots(build, kernel, names)]


def keeps(build: Build, name: str) -> bool:
    """Whether the record has this slot."""
    return name in build.layout.slots


def _names(stage: Stage, *more: str) -> list[str]:
    """Slots of a stage's input and output values."""
    return [f"value/{stage.input.buffer}", f"value/{stage.output.buffer}", *more]


def _with_slots(build: Build, kernel: ir.Function, names: list[str]) -> Kernel:
    """Call a kernel whose arguments are slots of the record, for each image."""

    def run(group: Group) -> None:
        e = group.e
        each_image(
            build, group,
            lambda _, record: e.call(kernel, *(slot(build, record, name, e) for name in names)),
        )

    return run


def _convolution_forward(build: Build, stage: ConvolutionStage) -> Kernel:
    tile = forward_tile(stage, build.machine)
    pack_row = build.network.matrices[stage.kernel].pack_row
    training = keeps(build, f"argmax/{stage.name}")
    kernel = convolution.forward(
        build.module, stage, tile, build.machine.lanes, pack_row, training
    )
    value_in, value_out, argmax = _names(stage, f"argmax/{stage.name}")

    def run(group: Group) -> None:
        e = group.e
        weights = pack(build, e, group.context, stage.kernel)
        bias = parameter(build, e, field(e, group.context, "parameters"), stage.bias)

        def one(_: Index, record: ir.Value) -> None:
            e.call(
                kernel, slot(build, record, value_in, e), weights, bias,
                slot(build, record, value_out, e), slot(build, record, argmax, e),
            )

        each_image(build, group, one)

    return run


def _convolution_backward(
    build: Build, stage: ConvolutionStage, with_input: bool
) -> list[Kernel]:
    lanes = build.machine.lanes
    if not keeps(build, f"live/{stage.name}/count"):
        return []
    lists = [f"live/{stage.name}/{part}" for part in ("gradient", "offset", "count")]
    kernels = [
        _with_slots(
            build, live.live_places(build.module, stage, lanes),
            [f"value/{stage.output.buffer}", f"gradient/{stage.output.buffer}",
             f"argmax/{stage.name}", *lists],
        )
    ]
    if not with_input:
        return kernels
    chunk = window_chunk(stage, build.machine)
    kernel = live.input_gradient(build.module, stage, chunk, lanes)

    def run(group: Group) -> None:
        e = group.e
        weights = parameter(build, e, field(e, group.context, "parameters"), stage.kernel)
        names = [*lists, f"gradient/{stage.input.buffer}"]
        each_image(
            build, group,
            lambda _, record: e.call(
                kernel, weights, *(slot(build, record, name, e) for name in names)
            ),
        )

    return [*kernels, run]


def _dense_forward(build: Build, stage: DenseStage) -> Kernel:
    units = stage.output.channels
    kernel = dense.product(
        build.module, f"{stage.name}.forward", stage.input.channels, units, units,
        build.layout.length, product_tile(units, build.machine), build.machine.lanes,
        has_bias=stage.bias is not None, activation=stage.activation,
    )

    def run(group: Group) -> None:
        e = group.e
        parameters = field(e, group.context, "parameters")
        source, target = (slot(build, group.records, name, e) for name in _names(stage))
        e.call(
            kernel, source, parameter(build, e, parameters, stage.kernel),
            parameter(build, e, parameters, stage.bias), target, group.images,
        )

    return run


def _dense_backward(build: Build, stage: DenseStage, with_input: bool) -> list[Kernel]:
    out, into = f"gradient/{stage.output.buffer}", f"gradient/{stage.input.buffer}"
    kernels: list[Kernel] = []
    if stage.activation.name != "linear":
        gate = dense.gate_output(build.module, stage, build.machine.lanes)
        kernels.append(_with_slots(build, gate, [f"value/{stage.output.buffer}", out]))
    if not with_input:
        return kernels
    inputs = stage.input.channels
    kernel = dense.product(
        build.module, f"{stage.name}.input_gradient", stage.output.channels, inputs,
        build.network.matrices[stage.kernel].pack_row, build.layout.length,
        product_tile(inputs, build.machine), build.machine.lanes,
    )

    def run(group: Group) -> None:
        e = group.e
        weights = pack(build, e, group.context, stage.kernel)
        source, target = (slot(build, group.records, name, e) for name in (out, into))
        e.call(kernel, source, weights, weights, target, group.images)

    return [*kernels, run]


def _dropout(build: Build, stage: DropoutStage, backward: bool) -> Kernel:
    kernel = elementwise.dropout(build.module, stage, build.machine.lanes, backward)
    kind = "gradient" if backward else "value"
    first, second = stage.input.buffer, stage.output.buffer
    source, target = (second, first) if backward else (first, second)

    def run(group: Group) -> None:
        e = group.e
        seed = e.load_scalar(field(e, group.context, "seeds"), stage.seed, I64)
        step = e.add(field(e, group.context, "iterations"), group.step)

        def one(image: Index, record: ir.Value) -> None:
            place = e.index(e.add(group.in_batch, image))
            key = elementwise.stream_key(e, seed, e.index(step), place)
            e.call(
                kernel, slot(build, record, f"{kind}/{source}", e),
                slot(build, record, f"{kind}/{target}", e), key,
            )

        each_image(build, group, one)

    return run


def group_function(build: Build, kernels: list[Kernel]) -> ir.Function:
    """(context, records, images, position in batch, position, step, scale): all of ``kernels``."""
    e = Emitter(
        build.module, "group", [POINTER, POINTER, I64, I64, I64, I64, F32], build.machine.lanes
    )
    context, records, images, in_batch, position, step, scale = e.arguments
    group = Group(e, context, records, images, in_batch, position, step, scale)
    for kernel in kernels:
        kernel(group)
    return e.finish()
