"""A Step as one native function that every thread runs.

It knows no phases of its own: it goes through those of the Step, with a barrier behind each. In a
phase threads take tasks: groups of images, slices of them, or shares of works. The last phase of a
step has updated every weight before the next step reads one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from convmill.kernels import ir, slices, ticks
from convmill.kernels.addresses import Bases, address
from convmill.kernels.build import EACH_IMAGE, Build, Kernel
from convmill.kernels.context import barrier, denormals_as_zero, field, read, shared, tasks, write
from convmill.kernels.lang import F32, I8, I64, POINTER, Emitter, Index
from convmill.kernels.operations import KERNELS
from convmill.lower.launches import Images, Launch, Phase, Shares, Slices, Step, Work
from convmill.lower.lifetimes import Memory
from convmill.lower.machine import Machine
from convmill.lower.network import Network

ENTRY = "run"
ZERO, ONE = ir.Constant(I64, 0), ir.Constant(F32, 1.0)


def build_program(
    network: Network,
    step: Step,
    memory: Memory,
    machine: Machine,
    training: bool,
    *,
    share: bool = True,
    timed: bool = False,
) -> ir.Module:
    """A module with ``run(context, thread)``: the ``steps`` batches of the context. Launches whose
    code is equal ``share`` it. ``timed`` is with a stopwatch around each (``ticks.py``).

    In training a stop is heeded between steps, and ``finished`` counts those that are done; else
    between groups of images, and ``finished`` counts images.
    """
    places = ticks.places(step) if timed else {}
    build = Build(ir.Module(), network, memory, machine, share, places)
    program = _Program(build, step, training)
    e = Emitter(build.module, ENTRY, [POINTER, I64], machine.lanes, exported=True)
    with denormals_as_zero(e, machine), ExitStack() as within:
        if timed:
            within.enter_context(ticks.counted(e, machine, len(places), len(places) + 1))
        program.write(e)
    e.finish()
    return build.module


def kernel_of(build: Build, launch: Launch) -> ir.Function:
    """The function of a launch; the same launch at another moment shares it."""

    def write() -> ir.Function:
        kernel, places = Kernel(build, launch), build.places
        with ExitStack() as within:
            if places:
                counted = ticks.counted(kernel, build.machine, places[launch], len(places) + 1)
                within.enter_context(counted)
            KERNELS[launch.kernel](kernel)
        return build.once(kernel.finish())

    return build.helper(launch, write)


@dataclass(frozen=True)
class _Batch:
    """The batch at hand: its number in the call, where it starts in the order of all images, how
    many images it has, and the loss' factor."""

    step: ir.Value
    start: ir.Value
    count: ir.Value
    scale: ir.Value


class _Program:
    """The functions of a Step's phases, and the loops around them."""

    def __init__(self, build: Build, step: Step, training: bool) -> None:
        self.build, self.step, self.training = build, step, training
        self.wait = barrier(build.module, build.machine)
        self.last = [phase for phase in step.part if phase.over_images][-1]
        self.functions = {
            id(phase): self._phase(f"phase{number}", phase)
            for number, phase in enumerate(step.phases)
        }

    def _phase(self, name: str, phase: Phase) -> ir.Function:
        if phase.over_images:
            return _group_function(self.build, name, phase)
        return _shares_function(self.build, name, phase.works)

    def write(self, e: Emitter) -> None:
        """All batches, one behind the other."""
        context = e.arguments[0]
        made = field(e, context, "prepared")
        with e.when(e.builder.icmp_signed("==", made, ZERO)):
            for phase in self.step.call:
                self._run(e, phase, _Batch(ZERO, ZERO, ZERO, ONE), 0, 0)
                e.call(self.wait, context)
        step = e.variable(ZERO)

        def remain() -> ir.Value:
            return e.less(e.get(step), field(e, context, "steps"))

        with _while(e, context, remain):
            self._batch(e, e.get(step))
            following = e.index(e.add(e.get(step), 1))
            if self.training:
                first = e.builder.icmp_signed("==", e.arguments[1], ZERO)
                with e.when(first):
                    done = e.sub(following, read(e, context, "failed"))
                    write(e, context, "finished", done)
            e.set(step, following)

    def _batch(self, e: Emitter, step: ir.Value) -> None:
        """One batch: its parts one behind the other, then what comes once."""
        context, b = e.arguments[0], e.builder
        size, part = field(e, context, "batch_size"), field(e, context, "part_size")
        start = e.mul(step, size)
        count = e.index(e.minimum(size, e.sub(field(e, context, "positions"), start)))
        scale = b.fdiv(ONE, b.sitofp(count, F32)) if self.training else ONE
        batch = _Batch(step, e.index(start), count, scale)
        done = e.variable(ZERO)
        stopped = None if self.training else context  # a step of training is whole
        with _while(e, stopped, lambda: e.less(e.get(done), count)):
            here = e.get(done)
            images = e.minimum(part, e.sub(count, here))
            for phase in self.step.part:
                self._unless_failed(e, phase, batch, here, images)
            e.set(done, e.index(e.add(here, part)))
        for phase in self.step.batch:
            self._unless_failed(e, phase, batch, 0, count)

    def _unless_failed(
        self, e: Emitter, phase: Phase, batch: _Batch, done: Index, images: Index
    ) -> None:
        """A phase and the barrier behind it, unless a loss that is computed outside has failed in
        this step: then nothing more of it is done. All threads see that behind the same barrier."""
        context, recipe = e.arguments[0], self.build.network.recipe
        with ExitStack() as within:
            if self.training and recipe is not None and recipe.bridged:
                failed = read(e, context, "failed")
                within.enter_context(e.when(e.builder.icmp_signed("==", failed, ZERO)))
            self._run(e, phase, batch, done, images)
            e.call(self.wait, context)

    def _run(self, e: Emitter, phase: Phase, batch: _Batch, done: Index, images: Index) -> None:
        """This thread's tasks of a phase, for ``images`` images behind ``done`` of the batch."""
        function = self.functions[id(phase)]
        if phase.over_images:
            take = self._slices if phase.sliced else self._groups
            take(e, phase, batch, done, images)
            return
        fresh = e.builder.zext(e.builder.icmp_signed("==", e.index(done), ZERO), I64)
        e.call(function, *e.arguments, batch.step, images, fresh, self._scratch(e))

    def _scratch(self, e: Emitter) -> ir.Value:
        """This thread's scratch."""
        context, thread = e.arguments
        return e.at(field(e, context, "scratch"), e.mul(thread, self.build.memory.scratch))

    def _groups(self, e: Emitter, phase: Phase, batch: _Batch, done: Index, images: Index) -> None:
        """Groups of images, as long as nobody stops what has no steps: smaller ones where there
        were none for some threads otherwise."""
        context, most = e.arguments[0], self.build.network.images_per_group
        threads = field(e, context, "threads")
        even = e.divide(e.add(images, threads, -1), threads)
        size = e.minimum(most, e.maximum(even, 1))
        group = self._group(e, phase, batch, done)
        with tasks(e, context, e.arguments[1], e.divide(e.add(images, size, -1), size)) as task:
            first = e.mul(task, size)
            count = e.minimum(size, e.sub(images, first))
            if self.training:
                group(e.add(done, first), count)
            else:
                with e.when(e.builder.icmp_signed("==", read(e, context, "stop"), ZERO)):
                    group(e.add(done, first), count)
                    if phase is self.last:
                        finished = shared(e, context, "finished")
                        e.builder.atomic_rmw("add", finished, e.index(count), "seq_cst")

    def _slices(self, e: Emitter, phase: Phase, batch: _Batch, done: Index, images: Index) -> None:
        """Slices of a batch, as far as they are among the images at hand, group by group."""
        memory, most = self.build.memory, self.build.network.images_per_group
        context, b = e.arguments[0], e.builder
        size = slices.size_of(e, batch.count, most)
        end = e.add(done, images)
        before, behind = e.divide(done, size), e.divide(e.add(end, size, -1), size)
        group = self._group(e, phase, batch, done)
        with tasks(e, context, e.arguments[1], e.sub(behind, before)) as task:
            number = e.add(before, task)
            start = e.mul(number, size)
            sums = e.mul(number, memory.slice_bytes)
            sums = e.at(field(e, context, "partials"), sums, I8)
            stop = e.minimum(end, e.add(start, size))
            with e.loop(e.maximum(start, done), stop, most) as place:
                fresh = b.zext(b.icmp_signed("==", e.index(place), e.index(start)), I64)
                group(place, e.minimum(most, e.sub(stop, place)), sums, fresh)

    def _group(self, e: Emitter, phase: Phase, batch: _Batch, done: Index) -> Callable[..., object]:
        """What calls a phase's function for ``count`` images from ``place`` of the batch on, of
        which ``done`` have had records before; with what else it takes."""
        (context, thread), memory = e.arguments, self.build.memory
        function = self.functions[id(phase)]
        length = e.mul(field(e, context, "own_images"), memory.thread_bytes)
        own = e.at(field(e, context, "own"), e.mul(thread, length), I8)
        scratch = self._scratch(e)
        iteration = e.add(field(e, context, "iterations"), batch.step)

        def call(place: Index, count: Index, *more: ir.Value) -> None:
            away = e.mul(e.sub(place, done), memory.image_bytes)
            records = e.at(field(e, context, "records"), away, I8)
            told = (e.add(batch.start, place), place, iteration, batch.scale, scratch, count)
            e.call(function, context, *told, records, own, *more)

        return call


@contextmanager
def _while(
    e: Emitter, context: ir.Value | None, condition: Callable[[], ir.Value]
) -> Iterator[None]:
    """``while condition() and nobody asked to stop``; without a ``context`` nobody is asked."""
    b = e.builder
    test, turn, done = (b.append_basic_block(name) for name in ("test", "turn", "done"))
    b.branch(test)
    b.position_at_end(test)
    going = condition()
    if context is not None:
        going = b.and_(going, b.icmp_signed("==", read(e, context, "stopping"), ZERO))
    b.cbranch(going, turn, done)
    b.position_at_end(turn)
    yield
    b.branch(test)
    b.position_at_end(done)


# A phase over images -----------------------------------------------------------------------------


def _group_function(build: Build, name: str, phase: Phase) -> ir.Function:
    """(context, position, place, iteration, scale, scratch, images, records, own): every launch for
    the images of a group; where it belongs to a slice also the slice's sums, and whether the group
    is its first."""
    kinds = [POINTER, I64, I64, I64, F32, POINTER, I64, POINTER, POINTER]
    kinds += [POINTER, I64] if phase.sliced else []
    work = phase.works[0]
    functions = [kernel_of(build, launch) for launch in work]
    e = Emitter(build.module, name, kinds, build.machine.lanes)
    for launch, function in zip(work, functions, strict=True):
        if launch.wanted is None:
            _call_for_group(build, e, launch, function)
            continue
        asked = field(e, e.arguments[0], f"has_{launch.wanted}")
        with e.when(e.builder.icmp_signed("!=", asked, ZERO)):
            _call_for_group(build, e, launch, function)
    return e.finish()


def _call_for_group(build: Build, e: Emitter, launch: Launch, function: ir.Function) -> None:
    """The calls of a launch for a group: one, or one for each image; one that sums over a slice
    takes all shares."""
    context, position, place, iteration, scale, scratch, images, records, own = e.arguments[:9]
    of_slice = e.arguments[9:]  # its sums, and whether they are fresh
    bases = Bases(context, records, own, of_slice[0] if of_slice else None)
    assert isinstance(launch.over, Images)
    slots = [address(build, e, bases, slot) for slot in launch.slots]
    if isinstance(launch.over, Slices):
        e.call(function, *slots, images, of_slice[1], scratch, 0, launch.over.total)
        return
    if launch.over.together:
        e.call(function, *slots, context, position, place, iteration, scale, scratch, images)
        return
    strides = [
        0 if slot.home == "batch" else build.memory.stride(slot.name) for slot in launch.slots
    ]
    told = (context, position, place, iteration, scale, scratch)
    e.call(_each_image(build, function.signature, len(slots)), function, images, *told,
           *slots, *strides)  # fmt: skip


def _each_image(build: Build, signature: ir.Signature, slots: int) -> ir.Function:
    """(function, images, what it is told, addresses of its slots, bytes from those of one image to
    those of the next): call it for each image."""

    def write() -> ir.Function:
        kinds = [POINTER, I64, *EACH_IMAGE.values(), *[POINTER] * slots, *[I64] * slots]
        e = Emitter(build.module, f"each_image.{slots}", kinds, build.machine.lanes)
        function, images, context, position, place, iteration, scale, scratch = e.arguments[:8]
        firsts, strides = e.arguments[8 : 8 + slots], e.arguments[8 + slots :]
        callee = ir.Callee(signature, function.text)
        with e.loop(0, images) as image:
            here = [
                e.at(first, e.mul(image, stride), I8)
                for first, stride in zip(firsts, strides, strict=True)
            ]
            where = (e.add(position, image), e.add(place, image))
            e.call(callee, *here, context, *where, iteration, scale, scratch)
        return e.finish()

    return build.helper(("each image", slots), write)


# A phase over shares -----------------------------------------------------------------------------


def _shares_function(build: Build, name: str, works: Sequence[Work]) -> ir.Function:
    """(context, thread, step, images, fresh, scratch): take tasks until there are none; task = part
    x works + work, with as many parts as threads: one of every work is a thread's own."""
    functions = [[kernel_of(build, launch) for launch in work] for work in works]
    kinds = [POINTER, I64, I64, I64, I64, POINTER]
    e = Emitter(build.module, name, kinds, build.machine.lanes)
    context, thread = e.arguments[:2]
    threads, count = field(e, context, "threads"), len(works)
    with tasks(e, context, thread, e.mul(count, threads)) as task:
        part = e.divide(task, count) if count > 1 else task
        number = e.sub(task, e.mul(part, count)) if count > 1 else 0
        share = _share(e, [_shares(work) for work in works], number, (part, threads))
        with e.when(e.less(*share)), _one_of(e, number, len(works)) as blocks:
            for work, written, begin in zip(works, functions, blocks, strict=True):
                begin()
                _call_for_share(build, e, work, written, share)
    return e.finish()


def _shares(work: Work) -> Shares:
    over = work[0].over
    assert isinstance(over, Shares)
    return over


def _share(
    e: Emitter, over: Sequence[Shares], number: Index, part: tuple[Index, Index]
) -> tuple[Index, Index]:
    """First and last item of a part, of so many, of the ``number``-th of some shares."""

    def known(values: list[int]) -> Index:
        if len(set(values)) == 1:
            return values[0]
        return e.load_scalar(e.table(values, I64), number, I64)

    multiple, total = known([one.multiple for one in over]), known([one.total for one in over])
    blocks = known([-(-one.total // one.multiple) for one in over])
    this, parts = part
    first = e.mul(e.divide(e.mul(blocks, this), parts), multiple)
    last = e.mul(e.divide(e.mul(blocks, e.add(this, 1)), parts), multiple)
    return first, e.minimum(last, total)


@contextmanager
def _one_of(e: Emitter, number: Index, count: int) -> Iterator[list[Callable[[], None]]]:
    """Functions that begin what is done where ``number`` is 0, 1 and so on; a single one is begun
    already."""
    if count == 1:
        yield [lambda: None]
        return
    b = e.builder
    done = b.append_basic_block("done")
    choice = b.switch(e.index(number), done)

    def begin(case: int) -> None:
        if case:
            b.branch(done)
        block = b.append_basic_block("work")
        choice.add_case(ir.Constant(I64, case), block)
        b.position_at_end(block)

    yield [partial(begin, case) for case in range(count)]
    b.branch(done)
    b.position_at_end(done)


def _call_for_share(
    build: Build,
    e: Emitter,
    work: Work,
    functions: Sequence[ir.Function],
    share: tuple[Index, Index],
) -> None:
    """The calls of a work for a share, from its first item to before its last."""
    context, _, step, images, fresh, scratch = e.arguments
    bases = Bases(context, field(e, context, "records"), sums=field(e, context, "partials"))
    for launch, function in zip(work, functions, strict=True):
        slots = [address(build, e, bases, slot) for slot in launch.slots]
        e.call(function, *slots, step, images, fresh, scratch, *share)
