"""A Step as one native function that every thread runs.

It knows no phases of its own: it goes through those of the Step, with a barrier behind each. In a
phase threads take tasks: groups of images, slices of them, or shares of works. The last phase of a
step has updated every weight before the next step reads one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from convmill.kernels import ir, phases, slices, ticks
from convmill.kernels.build import Build
from convmill.kernels.context import barrier, denormals_as_zero, field, read, shared, tasks, write
from convmill.kernels.lang import F32, I8, I64, POINTER, Emitter, Index
from convmill.lower.launches import Phase, Step
from convmill.lower.lifetimes import Memory
from convmill.lower.machine import Machine
from convmill.lower.network import Network

ENTRY = "run"
# Images of a group, where a batch is normalized: each phase does little with them, and what one
# launch leaves is in the caches when the next one reads it.
NORMALIZED_TOGETHER = 2
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


@dataclass(frozen=True)
class _Batch:
    """The batch at hand: its number in the call, where it starts in the order of all images, how
    many images it has, and the loss' factor."""

    step: ir.Value
    start: ir.Value
    count: ir.Value
    scale: ir.Value


@dataclass(frozen=True)
class _Handing:
    """How the tasks of a phase over images are handed out: slices of the batch, or groups of at
    ``most`` so many images (None: as many as a thread has memory for); ``backwards`` or not; and
    whether the run ``ends`` with them."""

    sliced: bool
    most: int | None
    backwards: bool
    ends: bool

    @property
    def name(self) -> str:
        """Of the function that hands them out."""
        kind = "slices" if self.sliced else "last_groups" if self.ends else "groups"
        most = "" if self.most is None else f"_of_{self.most}"
        return f"take_{kind}{most}{'.backwards' if self.backwards else ''}"


class _Program:
    """The functions of a Step's phases, and the loops around them."""

    def __init__(self, build: Build, step: Step, training: bool) -> None:
        self.build, self.step, self.training = build, step, training
        self.wait = barrier(build.module, build.machine)
        over_images = [phase for phase in step.part if phase.over_images]
        self.last = over_images[-1]
        # What a phase has left in the caches is of the images that it has done last.
        self.backwards = {id(phase) for phase in over_images[1::2]}
        self.functions = {
            id(phase): self._phase(f"phase{number}", phase)
            for number, phase in enumerate(step.phases)
        }

    def _phase(self, name: str, phase: Phase) -> ir.Function:
        if phase.over_images:
            return phases.over_images(self.build, name, phase)
        return phases.over_shares(self.build, name, phase.works)

    def write(self, e: Emitter) -> None:
        """All batches, one behind the other."""
        context = e.arguments[0]
        made = field(e, context, "prepared")
        with e.when(e.equal(made, 0)):
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
                first = e.equal(e.arguments[1], 0)
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
                within.enter_context(e.when(e.equal(failed, 0)))
            self._run(e, phase, batch, done, images)
            e.call(self.wait, context)

    def _run(self, e: Emitter, phase: Phase, batch: _Batch, done: Index, images: Index) -> None:
        """This thread's tasks of a phase, for ``images`` images behind ``done`` of the batch."""
        function = self.functions[id(phase)]
        if phase.over_images:
            told = (batch.step, batch.start, batch.count, batch.scale, done, images)
            e.call(self._take(phase), *e.arguments, *told, function)
            return
        fresh = e.builder.zext(e.equal(done, 0), I64)
        e.call(function, *e.arguments, batch.step, images, fresh, self._scratch(e))

    def _scratch(self, e: Emitter) -> ir.Value:
        """This thread's scratch."""
        context, thread = e.arguments[:2]
        return e.at(field(e, context, "scratch"), e.mul(thread, self.build.memory.scratch))

    def _take(self, phase: Phase) -> ir.Function:
        """(context, thread, the batch at hand, images of it that are done, images, function): this
        thread's tasks of a phase over images, whose function that is."""
        handing = self._handing(phase)

        def write() -> ir.Function:
            kinds = [POINTER, I64, I64, I64, I64, F32, I64, I64, POINTER]
            e = Emitter(self.build.module, handing.name, kinds, self.build.machine.lanes)
            step, start, count, scale, done, images, function = e.arguments[2:]
            callee = ir.Callee(self.functions[id(phase)].signature, function.text)
            batch = _Batch(step, start, count, scale)
            group = self._group(e, callee, batch, done)
            if handing.sliced:
                self._slices(e, group, batch, done, images, handing)
            else:
                self._groups(e, group, done, images, handing)
            return e.finish()

        return self.build.helper(handing, write)

    def _handing(self, phase: Phase) -> _Handing:
        """How a phase's tasks are handed out."""
        few = not phase.sliced and self.training and self.build.network.is_normalized
        return _Handing(
            sliced=phase.sliced,
            most=max(NORMALIZED_TOGETHER, phase.together) if few else None,
            backwards=id(phase) in self.backwards,
            ends=not self.training and phase is self.last,
        )

    def _groups(
        self,
        e: Emitter,
        group: Callable[..., object],
        done: Index,
        images: Index,
        handing: _Handing,
    ) -> None:
        """Groups of images, as long as nobody stops what has no steps: smaller ones where there
        were none for some threads otherwise, and as a thread's own memory is for: the system may
        have given fewer threads than that was held for. Where the run ends with them they are
        counted."""
        context = e.arguments[0]
        threads = field(e, context, "threads")
        even = e.divide(e.add(images, threads, -1), threads)
        size = e.minimum(field(e, context, "own_images"), e.maximum(even, 1))
        if handing.most is not None:
            size = e.minimum(size, handing.most)
        groups = e.divide(e.add(images, size, -1), size)
        with tasks(e, context, e.arguments[1], groups, backwards=handing.backwards) as task:
            first = e.mul(task, size)
            count = e.minimum(size, e.sub(images, first))
            if self.training:
                group(e.add(done, first), count)
            else:
                with e.when(e.equal(read(e, context, "stop"), 0)):
                    group(e.add(done, first), count)
                    if handing.ends:
                        finished = shared(e, context, "finished")
                        e.builder.atomic_rmw("add", finished, e.index(count), "seq_cst")

    def _slices(
        self,
        e: Emitter,
        group: Callable[..., object],
        batch: _Batch,
        done: Index,
        images: Index,
        handing: _Handing,
    ) -> None:
        """Slices of a batch, as far as they are among the images at hand, group by group."""
        memory, most = self.build.memory, self.build.network.images_per_group
        context, b = e.arguments[0], e.builder
        size = slices.size_of(e, batch.count, most)
        end = e.add(done, images)
        before, behind = e.divide(done, size), e.divide(e.add(end, size, -1), size)
        count = e.sub(behind, before)
        with tasks(e, context, e.arguments[1], count, backwards=handing.backwards) as task:
            number = e.add(before, task)
            start = e.mul(number, size)
            sums = e.mul(number, memory.slice_bytes)
            sums = e.at(field(e, context, "partials"), sums, I8)
            stop = e.minimum(end, e.add(start, size))
            with e.loop(e.maximum(start, done), stop, most) as place:
                fresh = b.zext(e.equal(place, start), I64)
                group(place, e.minimum(most, e.sub(stop, place)), sums, fresh)

    def _group(
        self, e: Emitter, function: ir.Callee, batch: _Batch, done: Index
    ) -> Callable[..., object]:
        """What calls a phase's function for ``count`` images from ``place`` of the batch on, of
        which ``done`` have had records before; with what else it takes."""
        (context, thread), memory = e.arguments[:2], self.build.memory
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
        going = b.and_(going, e.equal(read(e, context, "stopping"), 0))
    b.cbranch(going, turn, done)
    b.position_at_end(turn)
    yield
    b.branch(test)
    b.position_at_end(done)
