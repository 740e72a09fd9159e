"""The fields of the context, the block of memory by which Python and native code talk.

Eight bytes each: addresses, or 64-bit integers.
"""

from __future__ import annotations

from convmill.lower.lifetimes import CACHE_LINE

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
    "hyper",
    "losses",
    "correct",
    "outputs",
    "penalties",
    "norms",
    "seeds",
)
NUMBERS = (
    "image_stride",
    "image_type",
    "positions",
    "batch_size",
    "part_size",
    "steps",
    "threads",
    "iterations",
    "has_labels",
    "has_outputs",
    "weight_stride",  # sample weights of an image: one, or one for each place
)
# Written by several threads, each on a cache line of its own.
SHARED = ("counter", "arrived", "generation", "stop", "stopping", "finished")
FIELDS = (*POINTERS, *NUMBERS)
IMAGE_TYPES = ("uint8", "float32", "float64")


def field_offset(name: str) -> int:
    """Byte offset of a field of the context."""
    if name in SHARED:
        start = -(-len(FIELDS) * 8 // CACHE_LINE) * CACHE_LINE
        return start + SHARED.index(name) * CACHE_LINE
    return FIELDS.index(name) * 8


CONTEXT_BYTES = field_offset(SHARED[-1]) + CACHE_LINE
