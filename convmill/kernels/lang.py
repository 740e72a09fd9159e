"""The small kernel language: one native function being written.

Python is the template language. An index is a Python int (folded while emitting) or an ``i64``
value; offsets count elements of the type that is loaded. ``lanes`` float32 make one vector, and
``count`` below ``lanes`` turns a load or a store into a masked one, for one lane into a scalar one,
so that no kernel ever reads or writes outside its buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from convmill.kernels import ir
from convmill.kernels.instructions import Builder

F32, F64, POINTER, VOID = ir.F32, ir.F64, ir.POINTER, ir.VOID
BIT, I8, I32, I64 = (ir.IntType(width) for width in (1, 8, 32, 64))

Index: TypeAlias = int | ir.Value


class Emitter:
    """One native function being written into ``module``; ``arguments`` are its LLVM types."""

    def __init__(
        self,
        module: ir.Module,
        name: str,
        arguments: Sequence[ir.Type],
        lanes: int,
        *,
        exported: bool = False,
    ) -> None:
        self.module, self.lanes = module, lanes
        self.vector = ir.VectorType(F32, lanes)
        self.integers = ir.VectorType(I32, lanes)
        self.bytes = ir.VectorType(I8, lanes)
        self.bits = ir.VectorType(BIT, lanes)
        self.function = ir.Function(module, ir.Signature(VOID, tuple(arguments)), name)
        self.function.exported = exported
        self.function.attributes += ["nounwind"] if exported else ["noinline", "nounwind"]
        self.builder = Builder(self.function)

    @property
    def arguments(self) -> list[ir.Value]:
        """The function's arguments."""
        return self.function.arguments

    def no_alias(self) -> None:
        """Promise that no two pointer arguments reach the same memory."""
        self.function.noalias = True

    def finish(self) -> ir.Function:
        """End the function with a return."""
        self.builder.ret_void()
        return self.function

    # -- indices ---------------------------------------------------------------------------------

    def index(self, value: Index) -> ir.Value:
        """An ``i64`` value of a Python int or of itself."""
        return ir.Constant(I64, value) if isinstance(value, int) else value

    def add(self, *terms: Index) -> Index:
        """Sum of indices; the known part is folded into one constant."""
        known = sum(term for term in terms if isinstance(term, int))
        total: ir.Value | None = None
        for term in terms:
            if not isinstance(term, int):
                total = term if total is None else self.builder.add(total, term, nsw=True)
        if total is None:
            return known
        return self.builder.add(total, self.index(known), nsw=True) if known else total

    def mul(self, a: Index, b: Index) -> Index:
        """Product of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 1 or b == 1:
            return b if a == 1 else a
        return self.builder.mul(self.index(a), self.index(b), nsw=True)

    def sub(self, a: Index, b: Index) -> Index:
        """Difference of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return self.builder.sub(self.index(a), self.index(b), nsw=True)

    def minimum(self, a: Index, b: Index) -> Index:
        """The smaller of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        a, b = self.index(a), self.index(b)
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def maximum(self, a: Index, b: Index) -> Index:
        """The larger of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        a, b = self.index(a), self.index(b)
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def divide(self, a: Index, b: Index) -> Index:
        """Quotient, rounded towards zero. Constants are not negative: Python would round down."""
        if isinstance(a, int) and isinstance(b, int):
            assert min(a, b - 1) >= 0, f"negative, or by 0: {a} / {b}"
            return a // b
        return self.builder.sdiv(self.index(a), self.index(b))

    # -- control ---------------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Index, stop: Index, step: int = 1) -> Iterator[Index]:
        """``for index in range(start, stop, step)``; one known turn emits no loop."""
        if isinstance(start, int) and isinstance(stop, int) and start < stop <= start + step:
            yield start
            return
        builder = self.builder
        body, done = builder.append_basic_block("body"), builder.append_basic_block("done")
        first, last = self.index(start), self.index(stop)
        if isinstance(start, int) and isinstance(stop, int) and start < stop:
            builder.branch(body)
        else:
            builder.cbranch(builder.icmp_signed("<", first, last), body, done)
        before = builder.block
        with builder.within(body, done):
            index = builder.phi(I64)
            index.add_incoming(first, before)
            yield index
            following = builder.add(index, self.index(step), nsw=True)
            index.add_incoming(following, builder.block)
            builder.cbranch(builder.icmp_signed("<", following, last), body, done)

    @contextmanager
    def when(self, condition: ir.Value) -> Iterator[None]:
        """``if condition:``"""
        with self.builder.if_then(condition):
            yield

    def less(self, a: Index, b: Index) -> ir.Value:
        """``a < b`` as one bit."""
        return self.builder.icmp_signed("<", self.index(a), self.index(b))

    def equal(self, a: Index, b: Index) -> ir.Value:
        """Whether a == b."""
        return self.builder.icmp_signed("==", self.index(a), self.index(b))

    def variable(self, initial: ir.Value) -> ir.Value:
        """A mutable register: LLVM keeps it out of memory. Read by ``get``, written by ``set``."""
        made = self.builder.alloca(initial.type)
        self.builder.store(initial, made)
        return made

    def get(self, variable: ir.Value) -> ir.Value:
        """Value of a variable."""
        assert isinstance(variable, ir.Memory)
        return self.builder.load(variable, typ=variable.held)

    def set(self, variable: ir.Value, value: ir.Value) -> None:
        """Assign a variable."""
        self.builder.store(value, variable)

    def scratch(self, element: ir.Type, count: int) -> ir.Value:
        """``count`` elements on the stack, aligned to 64 bytes."""
        return self.builder.alloca(ir.ArrayType(element, count), align=64)

    def table(self, values: Sequence[float], element: ir.Type = F32) -> ir.Value:
        """Address of constants."""
        kind = ir.ArrayType(element, len(values))
        return ir.Array(self.module, ir.Constant(kind, values))

    def call(self, function: ir.Callee, *arguments: Index | float) -> ir.Value:
        """Call another kernel; Python ints become ``i64``, floats ``float``."""
        values = [
            ir.Constant(F32, value)
            if isinstance(value, float)
            else self.index(value)
            if isinstance(value, int)
            else value
            for value in arguments
        ]
        return self.builder.call(function, values)

    # -- memory ----------------------------------------------------------------------------------

    def at(self, pointer: ir.Value, offset: Index, element: ir.Type = F32) -> ir.Value:
        """Address ``offset`` elements behind ``pointer``."""
        if isinstance(offset, int) and offset == 0:
            return pointer
        return self.builder.gep(pointer, self.index(offset), element)

    def load_scalar(self, pointer: ir.Value, offset: Index, element: ir.Type = F32) -> ir.Value:
        """One element."""
        return self.builder.load(self.at(pointer, offset, element), typ=element)

    def store_scalar(
        self, value: ir.Value, pointer: ir.Value, offset: Index, element: ir.Type = F32
    ) -> None:
        """Write one element."""
        self.builder.store(value, self.at(pointer, offset, element))

    def load(
        self, pointer: ir.Value, offset: Index, count: int | None = None, element: ir.Type = F32
    ) -> ir.Value:
        """A vector; lanes from ``count`` on are zero and are not read."""
        kind = ir.VectorType(element, self.lanes)
        size = _bytes(element)
        address = self.at(pointer, offset, element)
        if count is None or count >= self.lanes:
            return self.builder.load(address, typ=kind, align=size)
        zero = ir.Constant(kind, [0] * self.lanes)
        if count == 1:  # LLVM 22 would touch four bytes of one that is widened, or was narrowed
            one = self.builder.load(address, typ=element, align=size)
            return self.builder.insert_element(zero, one, ir.Constant(I32, 0))
        name = f"llvm.masked.load.v{self.lanes}{_suffix(element)}.p0"
        function = self.declare(name, kind, [POINTER, I32, self.bits, kind])
        return self.builder.call(
            function, [address, ir.Constant(I32, size), self.mask(count), zero]
        )

    def store(
        self,
        value: ir.Value,
        pointer: ir.Value,
        offset: Index,
        count: int | None = None,
        element: ir.Type = F32,
    ) -> None:
        """Write a vector; lanes from ``count`` on are not written."""
        size = _bytes(element)
        address = self.at(pointer, offset, element)
        if count is None or count >= self.lanes:
            self.builder.store(value, address, align=size)
            return
        if count == 1:  # as in ``load``
            first = self.builder.extract_element(value, ir.Constant(I32, 0))
            self.builder.store(first, address, align=size)
            return
        name = f"llvm.masked.store.v{self.lanes}{_suffix(element)}.p0"
        function = self.declare(name, VOID, [value.type, POINTER, I32, self.bits])
        self.builder.call(function, [value, address, ir.Constant(I32, size), self.mask(count)])

    def scatter(
        self, value: ir.Value, pointer: ir.Value, places: ir.Value, wanted: ir.Value
    ) -> None:
        """Write those lanes that are ``wanted``, each at its own of the ``places``, ``i32``."""
        assert isinstance(value.type, ir.VectorType)
        element = value.type.element
        addresses = self.builder.gep(pointer, places, element)
        name = f"llvm.masked.scatter.v{self.lanes}{_suffix(element)}.v{self.lanes}p0"
        function = self.declare(name, VOID, [value.type, addresses.type, I32, self.bits])
        align = ir.Constant(I32, _bytes(element))
        self.builder.call(function, [value, addresses, align, wanted])

    def mask(self, count: int) -> ir.Value:
        """Bits that are set for the first ``count`` lanes."""
        return ir.Constant(self.bits, [int(lane < count) for lane in range(self.lanes)])

    def vectors(self, size: int, body: Callable[[Index, int], None]) -> None:
        """``body(offset, count)`` for each vector of ``size`` elements, a last partial one too."""
        full = size - size % self.lanes
        if full:
            with self.loop(0, full, self.lanes) as offset:
                body(offset, self.lanes)
        if size % self.lanes:
            body(full, size % self.lanes)

    def runs(self, size: int, vectors: int) -> Iterator[tuple[Index, list[int]]]:
        """Each run of at most so many ``vectors`` over ``size`` elements: where it starts, and the
        lanes of each of its vectors, of which the very last may be a partial one. A loop ends when
        the next run is asked for."""
        lanes = self.lanes
        total = blocks(size, lanes)
        for start, stop, count in cover(total, vectors, size % lanes > 0):
            last = size - (stop - 1) * lanes if stop == total else lanes
            with self.loop(start * lanes, stop * lanes, count * lanes) as first:
                yield first, [lanes] * (count - 1) + [last]

    def in_pieces(self, first: Index, last: Index, *sizes: int) -> Iterator[tuple[Index, int]]:
        """Items from ``first`` to ``last`` in pieces of the first of ``sizes``, what is left in
        pieces of the next one and so on, in the end one by one: where each starts, and how many it
        has. A loop ends when the next piece is asked for."""
        start = first
        for size in (*sizes, 1):
            count = last if start == 0 else self.sub(last, start)
            stop = self.add(start, self.mul(self.divide(count, size), size)) if size > 1 else last
            with self.loop(start, stop, size) as item:
                yield item, size
            start = stop

    def fill_zero(self, pointer: ir.Value, size: int) -> None:
        """Zero ``size`` float32."""
        self.vectors(size, lambda at, count: self.store(self.constant(0.0), pointer, at, count))

    # -- vectors ---------------------------------------------------------------------------------

    def declare(self, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
        """A function of LLVM or of the process, declared once in a module."""
        known = self.module.globals.get(name)
        if known is None:
            known = ir.Function(self.module, ir.Signature(result, tuple(arguments)), name)
        assert isinstance(known, ir.Function)
        return known

    def constant(self, value: float) -> ir.Value:
        """A vector with ``value`` in every lane."""
        return ir.splat(self.vector, value)

    def factor(self, value: float) -> ir.Value:
        """The same, read from memory where it is used. Constants stay in registers all through a
        function, and where there are many a loop that fills the registers puts its sums down. (A
        pass of LLVM's that folds what is never stored, which is not run, would undo it.)"""
        name = f"factor.{value}".replace("-", "minus.")
        held = self.module.globals.get(name)
        if held is None:
            only = ir.Constant(ir.ArrayType(F32, 1), [value])
            held = ir.Array(self.module, only, name, known=False)
        return self.broadcast(self.load_scalar(held, 0))

    def whole(self, value: int) -> ir.Value:
        """A vector of ``i32`` with ``value`` in every lane."""
        return ir.splat(self.integers, value)

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        """A scalar in every lane."""
        kind = ir.VectorType(scalar.type, self.lanes)
        empty = ir.Undefined(kind)
        first = self.builder.insert_element(empty, scalar, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(first, empty, self.whole(0))

    def numbered(self, first: Index) -> ir.Value:
        """A vector of ``i32``: ``first`` in the first lane, and one more in each behind it."""
        steps = ir.Constant(self.integers, list(range(self.lanes)))
        return self.builder.add(self.broadcast(self.builder.trunc(self.index(first), I32)), steps)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """``a * b + c``, rounded once where the processor can."""
        return self.intrinsic("fmuladd", a, b, c)

    def intrinsic(self, name: str, *values: ir.Value) -> ir.Value:
        """An LLVM intrinsic whose arguments and result have one type (sqrt, fabs, maxnum...)."""
        kind = values[0].type
        suffix = (
            f"v{self.lanes}{_suffix(kind.element)}"
            if isinstance(kind, ir.VectorType)
            else (_suffix(kind))
        )
        function = self.declare(f"llvm.{name}.{suffix}", kind, [kind] * len(values))
        return self.builder.call(function, list(values))

    def reduce(self, name: str, value: ir.Value) -> ir.Value:
        """One scalar from a vector: ``fadd`` (a fixed tree), ``fmax`` or ``fmaximum``."""
        joined = {"fadd": self.builder.fadd, "fmax": self.larger, "fmaximum": self.largest}[name]
        width = self.lanes
        while width > 1:
            width //= 2
            order = [lane ^ width for lane in range(self.lanes)]
            selector = ir.Constant(self.integers, order)
            other = self.builder.shuffle_vector(value, value, selector)
            value = joined(value, other)
        return self.builder.extract_element(value, ir.Constant(I32, 0))

    def larger(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger of two floats or of two vectors of them, lane by lane."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def largest(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger one; what is no number wins."""
        first = self.builder.fcmp_ordered(">", a, b)
        return self.builder.select(
            self.builder.or_(first, self.builder.fcmp_unordered("uno", a, a)), a, b
        )


def blocks(total: int, size: int) -> int:
    """How many blocks of at most ``size`` there are in ``total``."""
    return -(-total // size)


def cover(total: int, size: int, tail: bool = False) -> list[tuple[int, int, int]]:
    """Cut ``range(total)`` into (start, stop, step) with at most one loop and one remainder.

    With ``tail`` the last piece always stands alone, because its last vector is a partial one.
    """
    full = total - total % size
    if tail and full == total and full > size:
        return [(0, total - size, size), (total - size, total, size)]
    pieces = [(0, full, size)] if full else []
    return [*pieces, (full, total, total - full)] if full < total else pieces


def _bytes(element: ir.Type) -> int:
    """Size of a scalar type in bytes."""
    if isinstance(element, ir.IntType):
        return max(1, element.width // 8)
    return 4 if element == F32 else 8


def _suffix(element: ir.Type) -> str:
    """How LLVM spells a scalar type in the names of its intrinsics."""
    if isinstance(element, ir.IntType):
        return f"i{element.width}"
    return "f32" if element == F32 else "f64"
