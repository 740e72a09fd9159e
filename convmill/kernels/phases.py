"""A phase of a Step as a native function.

One over images does every launch for a group of images; one over shares goes through tasks until
there are none. ``run.py`` calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from convmill.kernels import ir, ticks
from convmill.kernels.addresses import Bases, address
from convmill.kernels.build import EACH_IMAGE, Build, Kernel, strided
from convmill.kernels.context import field, tasks
from convmill.kernels.lang import F32, I8, I64, POINTER, Emitter, Index
from convmill.kernels.operations import KERNELS
from convmill.lower.launches import Images, Launch, Phase, Shares, Slices, Work

ZERO = ir.Constant(I64, 0)


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


# A phase over images -----------------------------------------------------------------------------


def over_images(build: Build, name: str, phase: Phase) -> ir.Function:
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
        share = (0, launch.over.total)  # all there is
        e.call(function, *slots, images, of_slice[1], scratch, *share, *_strides(build, launch))
        return
    told = (context, position, place, iteration, scale, scratch)
    if launch.over.together:
        e.call(function, *slots, *told, images, *_strides(build, launch))
        return
    strides = [
        0 if slot.home == "batch" else build.memory.stride(slot.name) for slot in launch.slots
    ]
    e.call(_each_image(build, function.signature, len(slots)), function, images, *told,
           *slots, *strides)  # fmt: skip


def _strides(build: Build, launch: Launch) -> list[int]:
    """What a launch that goes through images by itself is told of its slots."""
    return [build.memory.stride(slot.name) for slot in strided(launch)]


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


def over_shares(build: Build, name: str, works: Sequence[Work]) -> ir.Function:
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
        told = (step, images, fresh, scratch, *share)
        e.call(function, *slots, *told, *_strides(build, launch))
