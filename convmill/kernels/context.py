"""The context: one block of memory by which Python and the threads of native code talk.

Also what threads need among themselves: counters that hand out tasks, a barrier, and the
processor's mode for denormal numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convmill.kernels import ir
from convmill.kernels.lang import I8, I32, I64, POINTER, VOID, Emitter, Index
from convmill.lower.fields import COUNTERS, POINTERS, field_offset
from convmill.lower.lines import CACHE_LINE
from convmill.lower.machine import Machine

# x86's mode: nothing traps and results are rounded to nearest; denormals become zero, and are read
# as zero. On Arm all of the former are zeros.
X86_USUAL, X86_ZEROING = 0x1F80, 0x8040
ARM_ZEROING = 1 << 24
SPINS = 1000  # turns of a waiting thread before it sleeps, or lets others run
FUTEX = {"x86_64": 202, "aarch64": 98}  # Linux' system call by which threads sleep and are woken
SLEEP, WAKE = 128, 129  # what it is to do, among threads of one process
ALL = 2**31 - 1  # of those that sleep


def field(e: Emitter, context: ir.Value, name: str) -> ir.Value:
    """Value of a field: an address or a 64-bit integer."""
    kind = POINTER if name in POINTERS else I64
    return e.builder.load(e.at(context, field_offset(name), I8), typ=kind)


def shared(e: Emitter, context: ir.Value, name: str) -> ir.Value:
    """Address of a field that several threads write."""
    return e.at(context, field_offset(name), I8)


def read(e: Emitter, context: ir.Value, name: str) -> ir.Value:
    """Value of a shared field now."""
    return e.builder.load_atomic(shared(e, context, name), "acquire", 8, typ=I64)


def write(e: Emitter, context: ir.Value, name: str, value: Index) -> None:
    """Set a shared field."""
    e.builder.atomic_rmw("xchg", shared(e, context, name), e.index(value), "seq_cst")


@contextmanager
def tasks(
    e: Emitter, context: ir.Value, thread: ir.Value, count: Index, *, backwards: bool = False
) -> Iterator[ir.Value]:
    """Take tasks, of which there are ``count``, until all are given out: first those of this
    thread's own share, the same in every phase and step, for what they read and write is in its
    core's caches; then what the others have not begun of theirs. ``backwards`` the last of a share
    comes first: what a phase has left in the caches is of those that it has done last."""
    b, threads = e.builder, field(e, context, "threads")
    with e.loop(0, threads) as turn:
        ahead = e.index(e.add(thread, turn))
        owner = b.select(e.less(ahead, threads), ahead, e.index(e.sub(ahead, threads)))
        first = e.divide(e.mul(owner, count), threads)
        share = e.sub(e.divide(e.mul(e.add(owner, 1), count), threads), first)
        counter = _counter(e, context, owner)
        take, work, done = (b.append_basic_block(name) for name in ("take", "work", "done"))
        look = b.append_basic_block("look")
        b.branch(look)
        b.position_at_end(look)  # nobody's cache loses a counter that has nothing more to give
        begun = b.load_atomic(counter, "monotonic", 8, typ=I64)
        b.cbranch(e.less(begun, share), take, done)
        b.position_at_end(take)
        number = b.atomic_rmw("add", counter, ir.Constant(I64, 1), "seq_cst")
        b.cbranch(e.less(number, share), work, done)
        b.position_at_end(work)
        yield e.index(e.sub(e.add(first, share, -1), number) if backwards else e.add(first, number))
        b.branch(look)
        b.position_at_end(done)


def _counter(e: Emitter, context: ir.Value, thread: Index) -> ir.Value:
    """Address of the number of tasks that were taken of a thread's share."""
    return e.at(context, e.add(field_offset(COUNTERS), e.mul(thread, CACHE_LINE)), I8)


def barrier(module: ir.Module, machine: Machine) -> ir.Function:
    """(context): wait for all threads; the last one resets the counters and looks for a stop.

    Who waits spins for a moment, and then sleeps, so that on a busy machine the others get the
    processor: a sleeper says so before it looks at the generation again, which the system does
    in one with falling asleep, and the last one looks for sleepers behind changing it.
    """
    e = Emitter(module, "barrier", [POINTER], machine.lanes)
    b, context, zero = e.builder, e.arguments[0], ir.Constant(I64, 0)
    generation = read(e, context, "generation")
    arrived = b.atomic_rmw("add", shared(e, context, "arrived"), ir.Constant(I64, 1), "seq_cst")
    last = b.icmp_signed("==", b.add(arrived, ir.Constant(I64, 1)), field(e, context, "threads"))
    with b.if_else(last) as (then, otherwise):
        with then:
            with e.loop(0, field(e, context, "threads")) as thread:
                counter = _counter(e, context, thread)
                b.atomic_rmw("xchg", counter, ir.Constant(I64, 0), "seq_cst")
            write(e, context, "arrived", 0)
            write(e, context, "stopping", read(e, context, "stop"))
            b.atomic_rmw("add", shared(e, context, "generation"), ir.Constant(I64, 1), "seq_cst")
            if _can_sleep(machine):
                asleep = b.atomic_rmw("add", shared(e, context, "sleepers"), zero, "seq_cst")
                with b.if_then(b.icmp_signed(">", asleep, zero)):
                    _futex(e, machine, context, WAKE, ir.Constant(I64, ALL))
        with otherwise:
            spin, done = b.append_basic_block("spin"), b.append_basic_block("done")
            before = b.block
            b.branch(spin)
            b.position_at_end(spin)
            turns = b.phi(I64)
            turns.add_incoming(ir.Constant(I64, 0), before)
            _pause(e, machine)
            with b.if_then(b.icmp_signed(">", turns, ir.Constant(I64, SPINS))):
                if _can_sleep(machine):
                    sleepers = shared(e, context, "sleepers")
                    b.atomic_rmw("add", sleepers, ir.Constant(I64, 1), "seq_cst")
                    _futex(e, machine, context, SLEEP, generation)
                    b.atomic_rmw("sub", sleepers, ir.Constant(I64, 1), "seq_cst")
                else:
                    b.call(e.declare("sched_yield", I32, []), [])
            turns.add_incoming(b.add(turns, ir.Constant(I64, 1)), b.block)
            waiting = b.icmp_signed("==", read(e, context, "generation"), generation)
            b.cbranch(waiting, spin, done)
            b.position_at_end(done)
    return e.finish()


def _can_sleep(machine: Machine) -> bool:
    return machine.system == "linux" and machine.architecture in FUTEX


def _futex(e: Emitter, machine: Machine, context: ir.Value, do: int, value: ir.Value) -> None:
    """Sleeps as long as the generation, of which the system looks at 32 bits, is ``value``; or
    wakes so many."""
    kinds = [I64, POINTER, I64, I64, I64, I64, I64]
    call = e.declare("syscall", I64, kinds)
    number, what, none = (ir.Constant(I64, one) for one in (FUTEX[machine.architecture], do, 0))
    where = shared(e, context, "generation")
    e.builder.call(call, [number, where, what, value, none, none, none])


def _pause(e: Emitter, machine: Machine) -> None:
    """Tell the processor that this is a spinning loop."""
    if machine.architecture == "x86_64":
        e.builder.call(e.declare("llvm.x86.sse2.pause", VOID, []), [])
    elif machine.architecture == "aarch64":
        hint = e.declare("llvm.aarch64.hint", VOID, [I32])
        e.builder.call(hint, [ir.Constant(I32, 1)])


@contextmanager
def usual_mode(e: Emitter, machine: Machine) -> Iterator[None]:
    """Within, denormal numbers are what they are, for code that is not ours."""
    with _mode(e, machine, zeroing=False):
        yield


@contextmanager
def denormals_as_zero(e: Emitter, machine: Machine) -> Iterator[None]:
    """Within, denormal numbers count as zero: they slow arithmetic down many times."""
    with _mode(e, machine, zeroing=True):
        yield


@contextmanager
def _mode(e: Emitter, machine: Machine, *, zeroing: bool) -> Iterator[None]:
    """Within, this thread computes in a known mode, whatever other libraries have set: results must
    not depend on which thread they come from. Its own mode is put back at the end."""
    b = e.builder
    if machine.architecture == "x86_64":
        get = e.declare("llvm.x86.sse.stmxcsr", VOID, [POINTER])
        set_ = e.declare("llvm.x86.sse.ldmxcsr", VOID, [POINTER])
        before, within = e.scratch(I32, 1), e.scratch(I32, 1)
        b.call(get, [before])
        b.store(ir.Constant(I32, X86_USUAL | X86_ZEROING if zeroing else X86_USUAL), within)
        b.call(set_, [within])
        yield
        b.call(set_, [before])
    elif machine.architecture == "aarch64":
        mode = b.call(e.declare("llvm.aarch64.get.fpcr", I64, []), [])
        set_ = e.declare("llvm.aarch64.set.fpcr", VOID, [I64])
        b.call(set_, [ir.Constant(I64, ARM_ZEROING if zeroing else 0)])
        yield
        b.call(set_, [mode])
    else:
        yield
