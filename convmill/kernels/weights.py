"""What happens to parameters in a step: gradients summed over images, norms, update, copies.

Every phase is a table of works; a work is cut into as many parts as there are threads, and each
part is one task. No sum is ever shared between tasks, so the number of threads changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from convmill.kernels import dense, live, narrow, winograd
from convmill.kernels.build import Build, pack, parameter
from convmill.kernels.context import field
from convmill.kernels.lang import F32, I8, I64, Emitter, Index
from convmill.kernels.update import penalty, squared_norm, transpose, update
from convmill.lower.schedule import images_per_pass, taps_at_once, weight_tile, window_chunk
from convmill.lower.stages import ConvolutionStage, DenseStage, Matrix


@dataclass(frozen=True)
class Turn:
    """One task inside the function being written: ``part`` of ``parts``, in ``step``."""

    e: Emitter
    context: ir.Value
    part: Index
    parts: Index
    step: Index
    images: Index


Work = Callable[[Turn], None]


def share(turn: Turn, total: int, multiple: int = 1) -> tuple[Index, Index]:
    """First and last of ``total`` items that this part takes, in whole multiples."""
    e, blocks = turn.e, -(-total // multiple)
    first = e.mul(e.divide(e.mul(blocks, turn.part), turn.parts), multiple)
    last = e.mul(e.divide(e.mul(blocks, e.add(turn.part, 1)), turn.parts), multiple)
    return first, e.minimum(last, total)


def only_first(turn: Turn) -> ir.Value:
    """Whether this is the first part, which does what is not worth cutting."""
    return turn.e.builder.icmp_signed("==", turn.e.index(turn.part), ir.Constant(I64, 0))


def gradients(build: Build) -> list[Work]:
    """Weight gradients of every stage, the largest first, and the regularizers' loss."""
    network = build.network
    sized: list[tuple[int, Work]] = []
    for stage in network.stages:
        if isinstance(stage, ConvolutionStage) and network.trains(stage):
            sized.append(
                (
                    stage.taps * stage.output.channels * stage.places,
                    _convolution_gradient(build, stage),
                )
            )
        elif isinstance(stage, DenseStage) and network.trains(stage):
            sized.append(
                (stage.input.channels * stage.output.channels, _dense_gradient(build, stage))
            )
    works = [work for _, work in sorted(sized, key=lambda pair: -pair[0])]
    return works + penalties(build)


def _convolution_gradient(build: Build, stage: ConvolutionStage) -> Work:
    layout, machine = build.layout, build.machine
    slots = {
        name: layout.at(name)
        for name in (
            f"value/{stage.input.buffer}",
            f"value/{stage.output.buffer}",
            f"gradient/{stage.output.buffer}",
            f"argmax/{stage.name}",
            *(f"live/{stage.name}/{part}" for part in ("gradient", "offset", "count")),
        )
        if name in layout.slots
    }
    if f"live/{stage.name}/count" in slots:
        kernel = live.weight_gradient(
            build.module,
            stage,
            window_chunk(stage, machine),
            machine.lanes,
            images_per_pass(stage),
            layout.length,
            slots,
        )
        multiple = 1
    else:
        kernel = narrow.weight_gradient(
            build.module, stage, taps_at_once(stage, machine), machine.lanes, layout.length, slots
        )
        multiple = machine.lanes

    def work(turn: Turn) -> None:
        e = turn.e
        result = field(e, turn.context, "gradients")
        e.call(
            kernel,
            field(e, turn.context, "records"),
            turn.images,
            parameter(build, e, result, stage.kernel),
            parameter(build, e, result, stage.bias),
            *share(turn, stage.output.channels, multiple),
        )

    return work


def _dense_gradient(build: Build, stage: DenseStage) -> Work:
    tile, length = weight_tile(stage, build.machine), build.layout.length
    lanes = build.machine.lanes
    kernel = dense.weight_gradient(build.module, stage, tile, length, lanes)
    bias = (
        dense.bias_gradient(build.module, stage, length, lanes) if stage.bias is not None else None
    )

    def work(turn: Turn) -> None:
        e = turn.e
        records, result = field(e, turn.context, "records"), field(e, turn.context, "gradients")
        x = e.at(records, build.layout.at(f"value/{stage.input.buffer}"), I8)
        gradient = e.at(records, build.layout.at(f"gradient/{stage.output.buffer}"), I8)
        e.call(
            kernel,
            x,
            gradient,
            turn.images,
            parameter(build, e, result, stage.kernel),
            *share(turn, stage.input.channels),
        )
        if bias is not None:
            with e.when(only_first(turn)):
                e.call(bias, gradient, turn.images, parameter(build, e, result, stage.bias))

    return work


def penalties(build: Build) -> list[Work]:
    """The regularizers' loss at the weights before the step, one work a regularized parameter."""
    regularized = [m for m in build.network.matrices if m.regularizer is not None]

    def work_of(place: int, matrix: Matrix) -> Work:
        assert matrix.regularizer is not None
        kernel = penalty(
            build.module, f"penalty.{matrix.index}", matrix.regularizer, build.machine.lanes
        )

        def work(turn: Turn) -> None:
            e = turn.e
            with e.when(only_first(turn)):
                at = e.add(e.mul(turn.step, len(regularized)), place)
                target = e.at(field(e, turn.context, "penalties"), at)
                weights = parameter(build, e, field(e, turn.context, "parameters"), matrix.index)
                e.call(kernel, weights, matrix.size, target)

        return work

    return [work_of(place, matrix) for place, matrix in enumerate(regularized)]


def norms(build: Build) -> list[Work]:
    """Squared norms of all gradients, where clipping asks for them."""
    recipe = build.network.recipe
    assert recipe is not None
    clip = recipe.optimizer.clip
    if clip is None or clip.kind == "value":
        return []

    def work_of(matrix: Matrix) -> Work:
        kernel = squared_norm(
            build.module, f"norm.{matrix.index}", matrix.regularizer, build.machine.lanes
        )

        def work(turn: Turn) -> None:
            e = turn.e
            with e.when(only_first(turn)):
                weights, gradient = (
                    parameter(build, e, field(e, turn.context, name), matrix.index)
                    for name in ("parameters", "gradients")
                )
                target = e.at(field(e, turn.context, "norms"), matrix.index)
                e.call(kernel, weights, gradient, matrix.size, target)

        return work

    return [work_of(matrix) for matrix in build.network.matrices if matrix.trainable]


def updates(build: Build, turn_copies: Callable[[Turn, Matrix, Index, Index], None]) -> list[Work]:
    """The optimizer's step on every trainable parameter, and its transposed copy behind it."""
    recipe = build.network.recipe
    assert recipe is not None
    kernels: dict[object, ir.Function] = {}

    def kernel_of(matrix: Matrix) -> ir.Function:
        kind = (matrix.regularizer, matrix.decays)
        if kind not in kernels:
            kernels[kind] = update(
                build.module,
                f"update.{len(kernels)}",
                recipe.optimizer,
                matrix.regularizer,
                matrix.decays,
                build.network.parameter_elements,
                build.machine.lanes,
            )
        return kernels[kind]

    def work_of(matrix: Matrix) -> Work:
        kernel = kernel_of(matrix)

        def work(turn: Turn) -> None:
            e = turn.e
            first, last = share(turn, matrix.rows, build.machine.lanes)
            arrays = (
                e.at(field(e, turn.context, name), matrix.offset)
                for name in ("parameters", "gradients", "slots")
            )
            hyper = e.at(field(e, turn.context, "hyper"), e.mul(turn.step, 2))
            e.call(
                kernel,
                *arrays,
                e.mul(first, matrix.columns),
                e.mul(last, matrix.columns),
                hyper,
                _clip_scale(build, turn, matrix),
            )
            turn_copies(turn, matrix, first, last)

        return work

    ordered = sorted((m for m in build.network.matrices if m.trainable), key=lambda m: -m.size)
    return [work_of(matrix) for matrix in ordered]


def _clip_scale(build: Build, turn: Turn, matrix: Matrix) -> ir.Value:
    """limit / max(norm, limit), by the norm of this parameter or of all."""
    recipe = build.network.recipe
    assert recipe is not None
    clip, e, b = recipe.optimizer.clip, turn.e, turn.e.builder
    if clip is None or clip.kind == "value":
        return ir.Constant(F32, 1.0)
    every = [m.index for m in build.network.matrices if m.trainable]
    total: ir.Value = ir.Constant(F32, 0.0)
    for index in [matrix.index] if clip.kind == "norm" else every:
        total = b.fadd(total, e.load_scalar(field(e, turn.context, "norms"), index))
    limit = ir.Constant(F32, clip.limit)
    return b.fdiv(limit, e.larger(e.intrinsic("sqrt", total), limit))


def copies(build: Build) -> Callable[[Turn, Matrix, Index, Index], None]:
    """Emit the transposed copy of some rows of a parameter, where a kernel reads one, and behind it
    Winograd's transform of those filters."""
    kernel = transpose(build.module, build.machine.lanes)
    transform = winograd.transform_weights(build.module, build.machine.lanes)
    read = {
        stage.kernel
        for index, stage in enumerate(build.network.stages)
        if isinstance(stage, ConvolutionStage)
        or (
            isinstance(stage, DenseStage)
            and build.training
            and index > build.network.first_backward
        )
    }

    def copy(turn: Turn, matrix: Matrix, first: Index, last: Index) -> None:
        if matrix.index not in read:
            return
        e = turn.e
        with e.when(e.less(first, last)):
            source = parameter(build, e, field(e, turn.context, "parameters"), matrix.index)
            target = pack(build, e, turn.context, matrix.index)
            e.call(
                kernel, source, matrix.rows, matrix.columns, target, matrix.pack_row, first, last
            )
            if matrix.winograd is not None:
                channels = matrix.columns // 9
                result = e.at(field(e, turn.context, "packs"), matrix.winograd)
                e.call(transform, target, channels, matrix.pack_row, result, first, last)

    return copy


def all_copies(build: Build, copy: Callable[[Turn, Matrix, Index, Index], None]) -> list[Work]:
    """Transposed copies of all parameters, before the first step of a call."""

    def work_of(matrix: Matrix) -> Work:
        def work(turn: Turn) -> None:
            copy(turn, matrix, *share(turn, matrix.rows, build.machine.lanes))

        return work

    return [work_of(matrix) for matrix in build.network.matrices if matrix.pack is not None]


def dispatch(turn: Turn, task: Index, works: Sequence[Work]) -> None:
    """Emit the choice of a task's work: task = work x parts + part."""
    e, b = turn.e, turn.e.builder
    number = e.divide(task, turn.parts)
    part = e.sub(task, e.mul(number, turn.parts))
    done = b.append_basic_block("done")
    choice = b.switch(e.index(number), done)
    for index, work in enumerate(works):
        block = b.append_basic_block(f"work{index}")
        choice.add_case(ir.Constant(I64, index), block)
        b.position_at_end(block)
        work(Turn(e, turn.context, part, turn.parts, turn.step, turn.images))
        b.branch(done)
    b.position_at_end(done)
