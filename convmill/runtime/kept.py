"""What is kept of a compiled net: its code behind the memory that it was made for, so that whoever
loads it need not plan its launches again.

    bytes of the memory (8, little-endian) | the memory as JSON | object code
"""

from __future__ import annotations

import json
from dataclasses import astuple

from convmill.lower.lifetimes import Memory, Place

_LENGTH = 8


def pack(memory: Memory, code: bytes) -> bytes:
    """Memory and code in one."""
    places = {name: astuple(place) for name, place in memory.places.items()}
    fields = (places, dict(memory.sizes), memory.scratch, memory.guard)
    text = json.dumps(fields).encode()
    return len(text).to_bytes(_LENGTH, "little") + text + code


def unpack(content: bytes) -> tuple[Memory, bytes]:
    """What was packed: ``content`` is whole, and nobody else's."""
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    places, sizes, scratch, guard = json.loads(content[_LENGTH:end])
    found = {name: Place(*place) for name, place in places.items()}
    return Memory(found, sizes, scratch, guard), content[end:]
