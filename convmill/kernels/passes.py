"""Each stage forward and backward, for every image of a group."""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels import convolution, dense, elementwise, live, pooling, winograd
from convmill.kernels.build import (
    Build,
    Group,
    Kernel,
    each_image,
    keeps,
    on_slots,
    pack,
    parameter,
    slot,
    value_slots,
)
from convmill.kernels.context import field
from convmill.kernels.lang import I64, Index
from convmill.lower.schedule import forward_tile, product_tile, window_chunk, winograd_tile
from convmill.lower.stages import (
    ActivationStage,
    ConvolutionStage,
    DenseStage,
    DropoutStage,
    PoolingStage,
    RescaleStage,
    Stage,
)


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
            names = value_slots(stage, f"argmax/{stage.name}")
        case ActivationStage():
            kernel, names = elementwise.activation_forward(module, stage, lanes), value_slots(stage)
        case RescaleStage():
            kernel, names = elementwise.rescale(module, stage, lanes, False), value_slots(stage)
        case DropoutStage():
            kernel, names = elementwise.copy(module, stage, lanes), value_slots(stage)
    return on_slots(build, kernel, names)


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
            names = [*value_slots(stage), out, f"argmax/{stage.name}", into]
        case ActivationStage():
            kernel = elementwise.activation_backward(module, stage, lanes)
            names = [*value_slots(stage), out, into]
        case RescaleStage():
            kernel, names = elementwise.rescale(module, stage, lanes, True), [out, into]
    return [on_slots(build, kernel, names)]


def _convolution_forward(build: Build, stage: ConvolutionStage) -> Kernel:
    machine, matrix = build.machine, build.network.matrices[stage.kernel]
    training = keeps(build, f"argmax/{stage.name}")
    if matrix.winograd is not None:
        tile = winograd_tile(stage, machine)
        kernel = winograd.forward(
            build.module, stage, tile, machine.lanes, matrix.pack_row, training
        )
    else:
        kernel = convolution.forward(
            build.module,
            stage,
            forward_tile(stage, machine),
            machine.lanes,
            matrix.pack_row,
            training,
        )
    value_in, value_out, argmax = value_slots(stage, f"argmax/{stage.name}")

    def run(group: Group) -> None:
        e = group.e
        weights = pack(build, e, group.context, stage.kernel)
        if matrix.winograd is not None:
            weights = e.at(field(e, group.context, "packs"), matrix.winograd)
        bias = parameter(build, e, field(e, group.context, "parameters"), stage.bias)

        def one(_: Index, record: ir.Value) -> None:
            source, target, places = (
                slot(build, record, name, e) for name in (value_in, value_out, argmax)
            )
            arguments = [source, weights, bias, target, places]
            e.call(kernel, *arguments, *([group.scratch] if matrix.winograd is not None else []))

        each_image(build, group, one)

    return run


def _convolution_backward(build: Build, stage: ConvolutionStage, with_input: bool) -> list[Kernel]:
    lanes = build.machine.lanes
    if not keeps(build, f"live/{stage.name}/count"):
        return []
    lists = [f"live/{stage.name}/{part}" for part in ("gradient", "offset", "count")]
    kernels = [
        on_slots(
            build,
            live.live_places(build.module, stage, lanes),
            [
                f"value/{stage.output.buffer}",
                f"gradient/{stage.output.buffer}",
                f"argmax/{stage.name}",
                *lists,
            ],
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
            build,
            group,
            lambda _, record: e.call(
                kernel, weights, *(slot(build, record, name, e) for name in names)
            ),
        )

    return [*kernels, run]


def _dense_forward(build: Build, stage: DenseStage) -> Kernel:
    units = stage.output.channels
    kernel = dense.product(
        build.module,
        f"{stage.name}.forward",
        stage.input.channels,
        units,
        units,
        build.layout.length,
        product_tile(units, build.machine),
        build.machine.lanes,
        has_bias=stage.bias is not None,
        activation=stage.activation,
    )

    def run(group: Group) -> None:
        e = group.e
        parameters = field(e, group.context, "parameters")
        source, target = (slot(build, group.records, name, e) for name in value_slots(stage))
        e.call(
            kernel,
            source,
            parameter(build, e, parameters, stage.kernel),
            parameter(build, e, parameters, stage.bias),
            target,
            group.images,
        )

    return run


def _dense_backward(build: Build, stage: DenseStage, with_input: bool) -> list[Kernel]:
    out, into = f"gradient/{stage.output.buffer}", f"gradient/{stage.input.buffer}"
    kernels: list[Kernel] = []
    if stage.activation.name != "linear":
        gate = dense.gate_output(build.module, stage, build.machine.lanes)
        kernels.append(on_slots(build, gate, [f"value/{stage.output.buffer}", out]))
    if not with_input:
        return kernels
    inputs = stage.input.channels
    kernel = dense.product(
        build.module,
        f"{stage.name}.input_gradient",
        stage.output.channels,
        inputs,
        build.network.matrices[stage.kernel].pack_row,
        build.layout.length,
        product_tile(inputs, build.machine),
        build.machine.lanes,
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
                kernel,
                slot(build, record, f"{kind}/{source}", e),
                slot(build, record, f"{kind}/{target}", e),
                key,
            )

        each_image(build, group, one)

    return run
