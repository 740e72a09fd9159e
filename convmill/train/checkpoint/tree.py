"""Plain Python values as JSON and a list of arrays, and back: no code is stored, and none is run.

Numbers, strings, None, lists, tuples, dicts, sets, bytes, deques and arrays, in any depth, and
Python's own dicts that do more: OrderedDict, Counter, and defaultdict of a type that is plain
itself. What is not plain in JSON is an object with one key that names its kind.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

_DICTS: dict[str, type] = {one.__name__: one for one in (dict, OrderedDict, Counter)}
_FACTORIES: dict[str, type] = {
    one.__name__: one for one in (bool, int, float, str, list, tuple, dict, set, Counter, deque)
}


class NotPlain(TypeError):
    """A value that no checkpoint can hold."""


def pack(value: Any, arrays: list[Any]) -> Any:
    """``value`` in JSON's terms; its arrays are appended to ``arrays`` as they are, not copied.

    Raises:
        NotPlain: there is something else in it.
    """
    cls = type(value)
    if value is None or cls in (bool, int, float, str):
        return value
    if cls is list:
        return [pack(one, arrays) for one in value]
    if _DICTS.get(cls.__name__) is cls:
        return {cls.__name__: _items(value, arrays)}
    if cls is defaultdict:
        return {"defaultdict": [_factory(value.default_factory), _items(value, arrays)]}
    if cls in (tuple, set, frozenset):
        return {cls.__name__: [pack(one, arrays) for one in value]}
    if cls is deque:
        return {"deque": [value.maxlen, [pack(one, arrays) for one in value]]}
    if cls is bytes:
        return {"bytes": value.hex()}
    if hasattr(value, "__array__") and hasattr(value, "dtype") and hasattr(value, "shape"):
        if getattr(value.dtype, "hasobject", False):
            raise NotPlain("an array of Python objects")
        arrays.append(value)
        return {"number" if isinstance(value, np.generic) else "array": len(arrays) - 1}
    raise NotPlain(f"a value of type {cls.__name__}")


def _items(value: dict[Any, Any], arrays: list[Any]) -> list[Any]:
    return [[pack(key, arrays), pack(one, arrays)] for key, one in value.items()]


def _factory(made: Any) -> str | None:
    """The name of what a defaultdict makes; None where it makes nothing."""
    if made is None:
        return None
    name = getattr(made, "__name__", "")
    if _FACTORIES.get(name) is not made:
        raise NotPlain(f"a defaultdict of {name or made!r}")
    return str(name)


def unpack(packed: Any, arrays: Sequence[np.ndarray]) -> Any:
    """The value that was packed. ValueError where nothing of ours was."""
    if packed is None or isinstance(packed, bool | int | float | str):
        return packed
    if isinstance(packed, list):
        return [unpack(one, arrays) for one in packed]
    if not isinstance(packed, dict) or len(packed) != 1:
        raise ValueError(f"no value of a checkpoint. Received: {packed!r:.100}")
    ((kind, content),) = packed.items()
    match kind:
        case "dict" | "OrderedDict" | "Counter":
            found: dict[Any, Any] = _DICTS[kind]()
            return _filled(found, content, arrays)
        case "defaultdict":
            name, items = content
            factory = None if name is None else _FACTORIES[name]
            return _filled(defaultdict(factory), items, arrays)
        case "tuple" | "set" | "frozenset":
            make: Any = {"tuple": tuple, "set": set, "frozenset": frozenset}[kind]
            return make(unpack(one, arrays) for one in content)
        case "deque":
            most, items = content
            return deque((unpack(one, arrays) for one in items), most)
        case "bytes":
            return bytes.fromhex(content)
        case "array":
            return arrays[content]
        case "number":
            return arrays[content][()]
    raise ValueError(f"no value of a checkpoint. Received: one of kind {kind!r:.100}")


def _filled(found: dict[Any, Any], items: Any, arrays: Sequence[np.ndarray]) -> dict[Any, Any]:
    for key, one in items:
        found[unpack(key, arrays)] = unpack(one, arrays)
    return found
