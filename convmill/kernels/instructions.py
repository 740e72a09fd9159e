"""The instructions of a function, written at the end of the block at hand.

Names are LLVM's own; a result has the type of what it is made from unless it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from convmill.kernels.ir import (
    POINTER,
    Block,
    Callee,
    Constant,
    Function,
    IntType,
    Late,
    Memory,
    Type,
    Value,
    VectorType,
)

BIT = IntType(1)
_ORDER = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_NUMBERS = {"ord": "ord", "uno": "uno"}  # both are numbers, or one is none


class Phi(Value, Late):
    """What a block is reached with, by the block that it is reached from."""

    __slots__ = ("incoming",)

    def __init__(self, kind: Type, text: str) -> None:
        super().__init__(kind, text)
        self.incoming: list[str] = []

    def add_incoming(self, value: Value, block: Block) -> None:
        """``value`` where ``block`` was before."""
        self.incoming.append(f"[{value.text}, %{block.name}]")

    def line(self) -> str:
        """The instruction."""
        return f"{self.text} = phi {self.type.text} {', '.join(self.incoming)}"


class Switch(Late):
    """A jump by a number."""

    __slots__ = ("cases", "otherwise", "value")

    def __init__(self, value: Value, otherwise: Block) -> None:
        self.value, self.otherwise = value, otherwise
        self.cases: list[str] = []

    def add_case(self, value: Constant, block: Block) -> None:
        """Where it goes for ``value``."""
        self.cases.append(f"{value.typed}, {block.label}")

    def line(self) -> str:
        """The instruction."""
        return f"switch {self.value.typed}, {self.otherwise.label} [{' '.join(self.cases)}]"


class Builder:
    """Writes instructions into ``function``, at the end of ``block``.

    What is computed from the same values again, where the result is ``known``, is that result: LLVM
    need not look for it.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self.block = function.append_block("entry")
        self.known: dict[str, Value] = {}

    # -- blocks ----------------------------------------------------------------------------------

    def append_basic_block(self, name: str) -> Block:
        """Another block of the function."""
        return self.function.append_block(name)

    def position_at_end(self, block: Block) -> None:
        """Go on in ``block``, of which it is not known what was computed before it."""
        self.block, self.known = block, {}

    @contextmanager
    def within(self, block: Block, following: Block) -> Iterator[None]:
        """Write into ``block``, and go on in the ``following`` one: both are reached through the
        block at hand alone, and know what was computed before."""
        before = self.known
        self.block, self.known = block, dict(before)
        yield
        self.block, self.known = following, before

    def branch(self, block: Block) -> None:
        """Go to ``block``."""
        self._leave(f"br {block.label}")

    def cbranch(self, condition: Value, then: Block, otherwise: Block) -> None:
        """Go to one of two blocks."""
        self._leave(f"br {condition.typed}, {then.label}, {otherwise.label}")

    def switch(self, value: Value, otherwise: Block) -> Switch:
        """Go to the block of a case, or to ``otherwise``."""
        made = Switch(value, otherwise)
        self._leave(made)
        return made

    def ret_void(self) -> None:
        """Leave the function."""
        self._leave("ret void")

    def _leave(self, line: str | Late) -> None:
        assert not self.block.is_terminated
        self.block.lines.append(line)
        self.block.is_terminated = True

    @contextmanager
    def if_then(self, condition: Value) -> Iterator[None]:
        """What is written within is done where ``condition`` holds."""
        then, after = self.append_basic_block("then"), self.append_basic_block("after")
        self.cbranch(condition, then, after)
        with self._inside(then, after, after):
            yield

    @contextmanager
    def if_else(
        self, condition: Value
    ) -> Iterator[tuple[AbstractContextManager[None], AbstractContextManager[None]]]:
        """Two contexts: what is written within the first is done where ``condition`` holds."""
        names = ("then", "otherwise", "after")
        then, otherwise, after = (self.append_basic_block(name) for name in names)
        self.cbranch(condition, then, otherwise)
        # Between the two nothing can be written: the block at hand is left already.
        yield self._inside(then, after, self.block), self._inside(otherwise, after, after)

    @contextmanager
    def _inside(self, block: Block, after: Block, following: Block) -> Iterator[None]:
        with self.within(block, following):
            yield
            if not self.block.is_terminated:
                self.branch(after)

    # -- memory ----------------------------------------------------------------------------------

    def alloca(self, kind: Type, align: int | None = None) -> Memory:
        """Memory of the function's own, reserved when it is entered."""
        entry = self.function.blocks[0]
        place = len(entry.lines) - entry.is_terminated
        made = Memory(kind, self.function.new_name())
        entry.lines.insert(place, f"{made.text} = alloca {kind.text}{_aligned(align)}")
        return made

    def load(self, pointer: Value, *, typ: Type, align: int | None = None) -> Value:
        """What is stored at ``pointer``."""
        return self._value(typ, f"load {typ.text}, ptr {pointer.text}{_aligned(align)}")

    def store(self, value: Value, pointer: Value, align: int | None = None) -> None:
        """Store ``value`` at ``pointer``."""
        self._line(f"store {value.typed}, ptr {pointer.text}{_aligned(align)}")

    def load_atomic(self, pointer: Value, ordering: str, align: int, *, typ: Type) -> Value:
        """What is stored at ``pointer``, where other threads write."""
        return self._value(
            typ, f"load atomic {typ.text}, ptr {pointer.text} {ordering}, align {align}"
        )

    def atomic_rmw(self, operation: str, pointer: Value, value: Value, ordering: str) -> Value:
        """Change what is stored at ``pointer`` in one piece; what was there before."""
        line = f"atomicrmw {operation} ptr {pointer.text}, {value.typed} {ordering}"
        return self._value(value.type, line)

    def gep(self, pointer: Value, index: Value, element: Type, *, inside: bool = True) -> Value:
        """Address ``index`` elements behind ``pointer``, ``inside`` the same memory unless told
        otherwise; as many addresses as there are indices."""
        bounds = "inbounds " if inside else ""
        line = f"getelementptr {bounds}{element.text}, ptr {pointer.text}, {index.typed}"
        kind = index.type
        kind = VectorType(POINTER, kind.count) if isinstance(kind, VectorType) else POINTER
        return self._computed(kind, line)

    # -- integers --------------------------------------------------------------------------------

    def add(self, a: Value, b: Value, *, nsw: bool = False) -> Value:
        """a + b; with ``nsw`` it is known to fit."""
        return self._pair("add nsw" if nsw else "add", a, b)

    def sub(self, a: Value, b: Value, *, nsw: bool = False) -> Value:
        """a - b."""
        return self._pair("sub nsw" if nsw else "sub", a, b)

    def mul(self, a: Value, b: Value, *, nsw: bool = False) -> Value:
        """a * b."""
        return self._pair("mul nsw" if nsw else "mul", a, b)

    def sdiv(self, a: Value, b: Value) -> Value:
        """a / b with signs, rounded towards zero."""
        return self._pair("sdiv", a, b)

    def srem(self, a: Value, b: Value) -> Value:
        """What is left by ``sdiv``."""
        return self._pair("srem", a, b)

    def shl(self, a: Value, b: Value) -> Value:
        """a moved up by b bits."""
        return self._pair("shl", a, b)

    def lshr(self, a: Value, b: Value) -> Value:
        """a moved down by b bits, zeros above."""
        return self._pair("lshr", a, b)

    def and_(self, a: Value, b: Value) -> Value:
        """Bits of both."""
        return self._pair("and", a, b)

    def or_(self, a: Value, b: Value) -> Value:
        """Bits of either."""
        return self._pair("or", a, b)

    def xor(self, a: Value, b: Value) -> Value:
        """Bits of one alone."""
        return self._pair("xor", a, b)

    def not_(self, a: Value) -> Value:
        """All bits turned; a is no vector."""
        return self._pair("xor", a, Constant(a.type, -1))

    # -- floating point --------------------------------------------------------------------------

    def fadd(self, a: Value, b: Value) -> Value:
        """a + b."""
        return self._pair("fadd", a, b)

    def fsub(self, a: Value, b: Value) -> Value:
        """a - b."""
        return self._pair("fsub", a, b)

    def fmul(self, a: Value, b: Value) -> Value:
        """a * b."""
        return self._pair("fmul", a, b)

    def fdiv(self, a: Value, b: Value) -> Value:
        """a / b."""
        return self._pair("fdiv", a, b)

    def fneg(self, a: Value) -> Value:
        """-a."""
        return self._computed(a.type, f"fneg {a.typed}")

    # -- comparing and choosing ------------------------------------------------------------------

    def icmp_signed(self, order: str, a: Value, b: Value) -> Value:
        """Whether integers with signs stand in that order: ``==``, ``<`` and so on."""
        sign = "" if order in ("==", "!=") else "s"
        return self._compared(f"icmp {sign}{_ORDER[order]}", a, b)

    def icmp_unsigned(self, order: str, a: Value, b: Value) -> Value:
        """Whether integers without signs stand in that order."""
        sign = "" if order in ("==", "!=") else "u"
        return self._compared(f"icmp {sign}{_ORDER[order]}", a, b)

    def fcmp_ordered(self, order: str, a: Value, b: Value) -> Value:
        """Whether floats stand in that order; never where one is no number."""
        return self._compared(f"fcmp {_NUMBERS.get(order) or 'o' + _ORDER[order]}", a, b)

    def fcmp_unordered(self, order: str, a: Value, b: Value) -> Value:
        """Whether floats stand in that order; always where one is no number."""
        return self._compared(f"fcmp {_NUMBERS.get(order) or 'u' + _ORDER[order]}", a, b)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """a where ``condition`` holds, else b."""
        return self._computed(a.type, f"select {condition.typed}, {a.typed}, {b.typed}")

    # -- from one type to another ----------------------------------------------------------------

    def trunc(self, a: Value, kind: Type) -> Value:
        """An integer of fewer bits."""
        return self._cast("trunc", a, kind)

    def zext(self, a: Value, kind: Type) -> Value:
        """An integer of more bits, zeros above."""
        return self._cast("zext", a, kind)

    def sext(self, a: Value, kind: Type) -> Value:
        """An integer of more bits, with its sign."""
        return self._cast("sext", a, kind)

    def fptosi(self, a: Value, kind: Type) -> Value:
        """A float as an integer with a sign."""
        return self._cast("fptosi", a, kind)

    def sitofp(self, a: Value, kind: Type) -> Value:
        """An integer with a sign as a float."""
        return self._cast("sitofp", a, kind)

    def uitofp(self, a: Value, kind: Type) -> Value:
        """An integer without a sign as a float."""
        return self._cast("uitofp", a, kind)

    def fptrunc(self, a: Value, kind: Type) -> Value:
        """A float of fewer bits."""
        return self._cast("fptrunc", a, kind)

    def fpext(self, a: Value, kind: Type) -> Value:
        """A float of more bits."""
        return self._cast("fpext", a, kind)

    def bitcast(self, a: Value, kind: Type) -> Value:
        """The same bits."""
        return self._cast("bitcast", a, kind)

    # -- vectors ---------------------------------------------------------------------------------

    def extract_element(self, vector: Value, lane: Value) -> Value:
        """One lane."""
        assert isinstance(vector.type, VectorType)
        return self._computed(vector.type.element, f"extractelement {vector.typed}, {lane.typed}")

    def insert_element(self, vector: Value, one: Value, lane: Value) -> Value:
        """The vector with one lane set."""
        line = f"insertelement {vector.typed}, {one.typed}, {lane.typed}"
        return self._computed(vector.type, line)

    def shuffle_vector(self, a: Value, b: Value, lanes: Value) -> Value:
        """Lanes of two vectors, as constant numbers say; those of b are behind those of a."""
        assert isinstance(a.type, VectorType)
        assert isinstance(lanes.type, VectorType)
        kind = VectorType(a.type.element, lanes.type.count)
        return self._computed(kind, f"shufflevector {a.typed}, {b.typed}, {lanes.typed}")

    # -- the rest --------------------------------------------------------------------------------

    def call(self, function: Callee, arguments: Sequence[Value]) -> Value:
        """What ``function`` returns."""
        kinds, result = function.signature.arguments, function.signature.result
        assert tuple(one.type for one in arguments) == kinds, function.text
        told = ", ".join([one.typed for one in arguments])
        line = f"call {result.text} {function.text}({told})"
        if result.text != "void":
            return self._value(result, line)
        self._line(line)
        return Value(result, "")

    def phi(self, kind: Type) -> Phi:
        """What the block is reached with."""
        made = Phi(kind, self.function.new_name())
        self.block.lines.append(made)
        return made

    def _value(self, kind: Type, line: str) -> Value:
        """The result of an instruction that reads memory, or does more than compute."""
        made = Value(kind, self.function.new_name())
        self._line(f"{made.text} = {line}")
        return made

    def _computed(self, kind: Type, line: str) -> Value:
        """The result of an instruction that depends on its values alone."""
        found = self.known.get(line)
        if found is None:
            found = self.known[line] = self._value(kind, line)
        return found

    def _line(self, line: str) -> None:
        assert not self.block.is_terminated
        self.block.lines.append(line)

    def _pair(self, operation: str, a: Value, b: Value) -> Value:
        assert a.type == b.type, (operation, a.type, b.type)
        return self._computed(a.type, f"{operation} {a.typed}, {b.text}")

    def _compared(self, operation: str, a: Value, b: Value) -> Value:
        assert a.type == b.type, (operation, a.type, b.type)
        kind = VectorType(BIT, a.type.count) if isinstance(a.type, VectorType) else BIT
        return self._computed(kind, f"{operation} {a.typed}, {b.text}")

    def _cast(self, operation: str, a: Value, kind: Type) -> Value:
        if a.type == kind:
            return a
        return self._computed(kind, f"{operation} {a.typed} to {kind.text}")


def _aligned(align: int | None) -> str:
    return f", align {align}" if align else ""
