"""The fields of the context, the block of memory by which Python and native code talk.

Eight bytes each: addresses, or 64-bit integers. A net may have several inputs and outputs: where
``images`` points lie an address, a stride in bytes and a type for each input, where ``labels``,
``sample_weights``, ``outputs``, ``handed_over`` and ``returned`` point an address and a stride for
each output.
"""

from __future__ import annotations

from convmill.lower.lines import CACHE_LINE

POINTERS = (
    "images",
    "labels",
    "sample_weights",
    "order",
    "parameters",
    "packs",
    "gradients",
    "slots",
    "records",
    "own",
    "scratch",
    "partials",
    "hyper",
    "losses",
    "correct",
    "outputs",
    "penalties",
    "activities",
    "norms",
    "statistics",
    "seeds",
    "bridge",  # a function
    "handed_over",
    "returned",
)
NUMBERS = (
    "positions",
    "batch_size",
    "part_size",
    "own_images",  # of which a thread has memory at once
    "steps",
    "threads",
    "iterations",
    "has_labels",
    "has_outputs",
    "prepared",  # whether what is made of weights once a call is there already
)
# Written by several threads, each on a cache line of its own.
SHARED = ("arrived", "generation", "sleepers", "stop", "stopping", "finished", "failed", "counters")
COUNTERS = SHARED[-1]  # how many tasks of its share each thread has given out: a line for each
FIELDS = (*POINTERS, *NUMBERS)
IMAGE_TYPES = ("uint8", "float32", "float64")
IMAGE_ENTRY = ("address", "stride", "type")  # of each input


def field_offset(name: str) -> int:
    """Byte offset of a field of the context."""
    if name in SHARED:
        start = -(-len(FIELDS) * 8 // CACHE_LINE) * CACHE_LINE
        return start + SHARED.index(name) * CACHE_LINE
    return FIELDS.index(name) * 8


def context_bytes(threads: int) -> int:
    """Size of a context for so many threads."""
    return field_offset(COUNTERS) + threads * CACHE_LINE
