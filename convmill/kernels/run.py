"""The two programs: all steps of a call, and inference over all images. Every thread runs them.

A training step is a few phases with a barrier between them; in each, threads take tasks from one
counter. The last phase of a step has updated every weight before the next step reads one.
"""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels import images, passes, weights
from convmill.kernels.build import Build, Group, Kernel
from convmill.kernels.context import barrier, denormals_as_zero, field, read, shared, tasks, write
from convmill.kernels.lang import F32, I8, I64, POINTER, Emitter, Index
from convmill.kernels.loss import through_softmax
from convmill.kernels.weights import Turn, Work
from convmill.lower.buffers import Layout, scratch_elements
from convmill.lower.machine import Machine
from convmill.lower.schedule import IMAGES_PER_GROUP
from convmill.lower.stages import Network


def build_training(network: Network, layout: Layout, machine: Machine) -> ir.Module:
    """A module with ``train(context, thread)``: steps [first_step, last_step)."""
    build = Build(ir.Module("train"), network, layout, machine, training=True)
    wait = barrier(build.module, machine)
    group = images.group_function(build, _training_kernels(build))
    copy = weights.copies(build)
    before = _phase(build, "copies", weights.all_copies(build, copy))
    phases = [
        _phase(build, "gradients", weights.gradients(build)),
        _phase(build, "norms", weights.norms(build)),
        _phase(build, "updates", weights.updates(build, copy)),
    ]
    e = Emitter(build.module, "train", [POINTER, I64], machine.lanes, exported=True)
    context = e.arguments[0]
    zero = ir.Constant(I64, 0)
    with denormals_as_zero(e, machine):
        if before is not None:
            e.call(before, context, zero, zero)
        e.call(wait, context)
        step = e.variable(field(e, context, "first_step"))
        _while_steps_remain(e, context, step, lambda: _step(build, e, group, phases, wait, step))
    e.finish()
    return build.module


def _training_kernels(build: Build) -> list[Kernel]:
    """Gather, forward, loss, backward."""
    network = build.network
    kernels = [images.read_images(build)]
    kernels += [passes.forward(build, stage) for stage in network.stages]
    kernels += [images.write_outputs(build), images.measure(build)]
    last = len(network.stages) - (1 if through_softmax(network) else 0)
    for index in reversed(range(network.first_backward, last)):
        stage = network.stages[index]
        kernels += passes.backward(build, stage, index > network.first_backward)
    return kernels


def _phase(build: Build, name: str, works: list[Work]) -> ir.Function | None:
    """(context, step, images): take this phase's tasks until there are none; None without work."""
    if not works:
        return None
    e = Emitter(build.module, name, [POINTER, I64, I64], build.machine.lanes)
    context, step, count = e.arguments
    threads = field(e, context, "threads")
    with tasks(e, context, e.mul(len(works), threads)) as task:
        weights.dispatch(Turn(e, context, 0, threads, step, count), task, works)
    return e.finish()


def _while_steps_remain(e: Emitter, context: ir.Value, step: ir.Value, body) -> None:  # type: ignore[no-untyped-def]
    """``while step < last_step and nobody asked to stop: body()``."""
    b = e.builder
    test, turn, done = (b.append_basic_block(name) for name in ("test", "turn", "done"))
    b.branch(test)
    b.position_at_end(test)
    remain = e.less(e.get(step), field(e, context, "last_step"))
    going = b.icmp_signed("==", read(e, context, "stopping"), ir.Constant(I64, 0))
    b.cbranch(b.and_(remain, going), turn, done)
    b.position_at_end(turn)
    body()
    b.branch(test)
    b.position_at_end(done)


def _step(
    build: Build,
    e: Emitter,
    group: ir.Function,
    phases: list[ir.Function | None],
    wait: ir.Function,
    step: ir.Value,
) -> None:
    """One step: images, then the phases on parameters, a barrier behind each."""
    b = e.builder
    context, thread = e.arguments
    now, size = e.get(step), field(e, context, "batch_size")
    start = e.mul(now, size)
    count = e.minimum(size, e.sub(field(e, context, "positions"), start))
    groups = e.divide(e.add(count, IMAGES_PER_GROUP - 1), IMAGES_PER_GROUP)
    recipe = build.network.recipe
    assert recipe is not None
    scale: ir.Value = ir.Constant(F32, 1.0)
    if recipe.loss.reduction == "mean":
        scale = b.fdiv(scale, b.sitofp(e.index(count), F32))
    with tasks(e, context, groups) as task:
        first = e.mul(task, IMAGES_PER_GROUP)
        images_here = e.minimum(IMAGES_PER_GROUP, e.sub(count, first))
        records = e.at(field(e, context, "records"), e.mul(first, build.layout.length), I8)
        position = e.add(start, first)
        scratch = _scratch(build, e, context, thread)
        e.call(group, context, records, images_here, first, position, now, scale, scratch)
    e.call(wait, context)
    for phase in phases:
        if phase is not None:
            e.call(phase, context, now, count)
            e.call(wait, context)
    following = e.index(e.add(now, 1))
    with e.when(b.icmp_signed("==", thread, ir.Constant(I64, 0))):
        write(e, context, "finished", following)
    e.set(step, following)


def build_inference(network: Network, layout: Layout, machine: Machine) -> ir.Module:
    """A module with ``infer(context, thread)``: predictions, and losses where labels are given."""
    build = Build(ir.Module("infer"), network, layout, machine, training=False)
    wait = barrier(build.module, machine)
    kernels = [images.read_images(build)]
    kernels += [passes.forward(build, stage) for stage in network.stages]
    kernels.append(images.write_outputs(build))
    copy = weights.copies(build)
    before = _phase(build, "copies", weights.all_copies(build, copy))
    group = images.group_function(build, kernels)
    judge = None
    if network.recipe is not None:
        judge = _judge_function(build)
    e = Emitter(build.module, "infer", [POINTER, I64], machine.lanes, exported=True)
    context, thread = e.arguments
    zero = ir.Constant(I64, 0)
    with denormals_as_zero(e, machine):
        if before is not None:
            e.call(before, context, zero, zero)
        e.call(wait, context)
        positions = field(e, context, "positions")
        groups = e.divide(e.add(positions, IMAGES_PER_GROUP - 1), IMAGES_PER_GROUP)
        away = e.mul(thread, IMAGES_PER_GROUP * layout.length)
        records = e.at(field(e, context, "records"), away, I8)
        scratch = _scratch(build, e, context, thread)
        with tasks(e, context, groups) as task:
            _infer_group(e, context, group, judge, (records, scratch), task)
    e.finish()
    return build.module


def _scratch(build: Build, e: Emitter, context: ir.Value, thread: ir.Value) -> ir.Value:
    """This thread's own memory."""
    elements = scratch_elements(build.network, build.machine)
    return e.at(field(e, context, "scratch"), e.mul(thread, elements))


def _judge_function(build: Build) -> ir.Function:
    """(context, records, images, position): losses of a group of images."""
    e = Emitter(build.module, "judge", [POINTER, POINTER, I64, I64], build.machine.lanes)
    context, records, count, position = e.arguments
    one = ir.Constant(F32, 1.0)
    images.measure(build)(Group(e, context, records, count, 0, position, 0, one, records))
    return e.finish()


def _infer_group(
    e: Emitter,
    context: ir.Value,
    group: ir.Function,
    judge: ir.Function | None,
    memory: tuple[ir.Value, ir.Value],
    task: Index,
) -> None:
    """One group of images forward, unless somebody asked to stop; ``memory`` is this thread's
    records and scratch."""
    records, scratch = memory
    b, zero = e.builder, ir.Constant(I64, 0)
    going = b.icmp_signed("==", read(e, context, "stop"), zero)
    with e.when(going):
        first = e.mul(task, IMAGES_PER_GROUP)
        count = e.minimum(IMAGES_PER_GROUP, e.sub(field(e, context, "positions"), first))
        one = ir.Constant(F32, 1.0)
        e.call(group, context, records, count, first, first, zero, one, scratch)
        if judge is not None:
            wanted = b.icmp_signed("!=", field(e, context, "has_labels"), zero)
            with e.when(wanted):
                e.call(judge, context, records, count, first)
        finished = shared(e, context, "finished")
        b.atomic_rmw("add", finished, e.index(count), "seq_cst")
