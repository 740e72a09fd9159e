"""LLVM IR as text: types, values, functions, and a module of them; ``instructions.py`` writes what
stands inside a function.

Only what the kernels say. Every value knows its type and its name in the text, and nothing more: an
instruction is a line as soon as it is asked for.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass


class Type:
    """A type, by what LLVM calls it."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


class IntType(Type):
    """Integers of so many bits."""

    __slots__ = ("width",)

    def __init__(self, width: int) -> None:
        super().__init__(f"i{width}")
        self.width = width


class VectorType(Type):
    """``count`` numbers in a register."""

    __slots__ = ("count", "element")

    def __init__(self, element: Type, count: int) -> None:
        super().__init__(f"<{count} x {element.text}>")
        self.element, self.count = element, count


class ArrayType(Type):
    """``count`` elements in memory."""

    __slots__ = ("count", "element")

    def __init__(self, element: Type, count: int) -> None:
        super().__init__(f"[{count} x {element.text}]")
        self.element, self.count = element, count


F32, F64, POINTER, VOID = (Type(name) for name in ("float", "double", "ptr", "void"))


@dataclass(frozen=True)
class Signature:
    """What a function returns, and what it is told."""

    result: Type
    arguments: tuple[Type, ...]


class Value:
    """What an instruction may work on, by its ``text``."""

    __slots__ = ("text", "type")

    def __init__(self, kind: Type, text: str) -> None:
        self.type, self.text = kind, text

    @property
    def typed(self) -> str:
        """The value with its type before it."""
        return f"{self.type.text} {self.text}"


class Memory(Value):
    """Memory on the stack for one value of a type that is ``held``, by its address."""

    __slots__ = ("held",)

    def __init__(self, held: Type, text: str) -> None:
        super().__init__(POINTER, text)
        self.held = held


class Callee(Value):
    """A function's address, with its ``signature``."""

    __slots__ = ("signature",)

    def __init__(self, signature: Signature, text: str) -> None:
        super().__init__(POINTER, text)
        self.signature = signature


Number = int | float


class Constant(Value):
    """A number, one for each lane or element, or zero for None."""

    __slots__ = ()

    def __init__(self, kind: Type, value: Number | Sequence[Number] | None) -> None:
        super().__init__(kind, _written(kind, value))


class Undefined(Value):
    """A value that nothing is known of."""

    __slots__ = ()

    def __init__(self, kind: Type) -> None:
        super().__init__(kind, "undef")


def splat(kind: VectorType, number: Number) -> Value:
    """``number`` in every lane."""
    return Value(kind, f"splat ({kind.element.text} {_written(kind.element, number)})")


def _written(kind: Type, value: Number | Sequence[Number] | None) -> str:
    if isinstance(value, int) and isinstance(kind, IntType):
        return str(int(value))
    if value is None:
        return "0.0" if kind in (F32, F64) else "0" if isinstance(kind, IntType) else ZEROS
    if isinstance(kind, VectorType | ArrayType):
        assert isinstance(value, Sequence)
        assert len(value) == kind.count
        element = kind.element
        parts = [f"{element.text} {_written(element, each)}" for each in value]
        start, end = "<>" if isinstance(kind, VectorType) else "[]"
        return start + ", ".join(parts) + end
    assert isinstance(value, int | float)
    assert kind in (F32, F64)
    rounded = struct.unpack("f", struct.pack("f", value))[0] if kind == F32 else float(value)
    return "0x" + struct.pack(">d", rounded).hex()


ZEROS = "zeroinitializer"
SMALLEST_PART = 1 << 16  # characters of a module below which it is not cut


class Block:
    """Instructions one behind the other; the last one of a finished block leaves it."""

    __slots__ = ("is_terminated", "lines", "name")

    def __init__(self, name: str) -> None:
        self.name, self.is_terminated = name, False
        self.lines: list[str | Late] = []

    @property
    def label(self) -> str:
        """As a jump names it."""
        return f"label %{self.name}"


class Late:
    """An instruction that is not complete when it is asked for."""

    __slots__ = ()

    def line(self) -> str:
        """The instruction as it is now."""
        raise NotImplementedError


class Function(Callee):
    """A function of a module: declared, and defined as soon as it has a block."""

    __slots__ = ("arguments", "attributes", "blocks", "exported", "name", "named", "noalias")

    def __init__(self, module: Module, signature: Signature, name: str) -> None:
        super().__init__(signature, f'@"{name}"')
        assert name not in module.globals, name
        module.globals[name] = self
        self.name, self.named, self.exported, self.noalias = name, 0, True, False
        self.attributes: list[str] = []
        self.blocks: list[Block] = []
        self.arguments = [Value(kind, f"%a{n}") for n, kind in enumerate(signature.arguments)]

    def new_name(self) -> str:
        """A name that nothing else in the function has."""
        self.named += 1
        return f"%v{self.named}"

    def append_block(self, name: str) -> Block:
        """Another block, at the end."""
        self.named += 1
        block = Block(f"{name}.{self.named}")
        self.blocks.append(block)
        return block

    def body(self) -> str:
        """All but the name: arguments and instructions."""
        if not self.blocks:
            return f"({', '.join(kind.text for kind in self.signature.arguments)})"
        promise = " noalias" if self.noalias else ""
        arguments = [
            f"{one.type.text}{promise if one.type == POINTER else ''} {one.text}"
            for one in self.arguments
        ]
        lines = [f"({', '.join(arguments)}) {' '.join(self.attributes)} {{"]
        for block in self.blocks:
            lines.append(f"{block.name}:")
            lines += [one if isinstance(one, str) else one.line() for one in block.lines]
        return "\n".join([*lines, "}"])

    def declaration(self) -> str:
        """The function as other modules are told of it."""
        kinds = ", ".join(kind.text for kind in self.signature.arguments)
        return f"declare {self.signature.result.text} {self.text}({kinds})"

    def definition(self) -> str:
        """The function in full; its declaration where it is no function of ours."""
        if not self.blocks:
            return self.declaration()
        linkage = "" if self.exported else "internal "
        return f"define {linkage}{self.signature.result.text} {self.text}{self.body()}"


class Array(Value):
    """Numbers in memory, by their address: constants of the module, or an ``exported`` array that
    begins with these values and may be changed. What is not ``known`` to be constant LLVM reads
    anew wherever it is used."""

    __slots__ = ("exported", "known", "values")

    def __init__(
        self,
        module: Module,
        values: Constant,
        name: str = "",
        *,
        exported: bool = False,
        known: bool = True,
    ) -> None:
        name = name or f"table.{len(module.globals)}"
        super().__init__(POINTER, f'@"{name}"')
        assert name not in module.globals, name
        module.globals[name] = self
        self.values, self.exported, self.known = values, exported, known

    def definition(self) -> str:
        """The array in full."""
        linkage = "" if self.exported else "internal "
        kind = "constant" if self.known and not self.exported else "global"
        return f"{self.text} = {linkage}{kind} {self.values.typed}"


class Module:
    """Functions and arrays by name."""

    def __init__(self) -> None:
        self.globals: dict[str, Function | Array] = {}

    def text(self) -> str:
        """All of them."""
        return "\n".join(each.definition() for each in self.globals.values())

    def parts(self, most: int) -> list[str]:
        """The same functions in at most so many modules of about one size, to be linked when they
        are loaded. Each function is code by itself: who compiles it where changes nothing."""
        texts = {name: each.definition() for name, each in self.globals.items()}
        own = [one for one in self.globals.values() if isinstance(one, Function) and one.blocks]
        size = sum(len(texts[one.name]) for one in own)
        count = min(most, len(own), 1 + size // SMALLEST_PART)
        sizes, chosen = [0] * count, [list[Function]() for _ in range(count)]
        for function in sorted(own, key=lambda one: -len(texts[one.name])):
            smallest = sizes.index(min(sizes))
            chosen[smallest].append(function)
            sizes[smallest] += len(texts[function.name])
        return [self._part(functions, texts, first=not n) for n, functions in enumerate(chosen)]

    def _part(self, functions: list[Function], texts: dict[str, str], *, first: bool) -> str:
        """A module of ``functions``, with what they need; arrays that may be changed are in the
        ``first``."""
        lines = [
            texts[one.name].replace("define internal", "define hidden", 1) for one in functions
        ]
        there = {one.name for one in functions}
        for name in dict.fromkeys(re.findall('@"([^"]*)"', "\n".join(lines))):
            one = self.globals[name]
            if isinstance(one, Function):
                lines += [] if name in there else [one.declaration()]
            elif one.exported and not first:
                lines.append(f"{one.text} = external global {one.values.type.text}")
            else:
                lines.append(texts[name])
        return "\n".join(lines)
