"""The machine we run on: cores, vector width, and LLVM's description of the processor."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from functools import cache
from pathlib import Path

from convmill import settings
from convmill.lower.machine import TARGETS, Machine
from convmill.settings import MAX_THREADS, check_threads


@cache
def initialize() -> None:
    """Prepare LLVM for this processor, once in a process."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if sys.platform == "win32":  # what a waiting thread calls to let others run
        switch = ctypes.windll.kernel32.SwitchToThread  # type: ignore[attr-defined]
        address = ctypes.cast(switch, ctypes.c_void_p).value
        llvm.add_symbol("sched_yield", address)


@cache
def features() -> frozenset[str]:
    """Names of the processor's features.

    Linux lists them by the names that LLVM has for those that we ask for; so who only wants to know
    the width of vectors need not wait for LLVM to be loaded.
    """
    return _listed_features() or llvm_features()


def _listed_features() -> frozenset[str]:
    """What Linux tells of an x86 processor; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(flags[1].split()) if flags else frozenset()


def llvm_features() -> frozenset[str]:
    """Names of the processor's features that LLVM knows and that are there."""
    import llvmlite.binding as llvm

    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


@cache
def processor() -> Machine:
    """All that this processor has."""
    architecture = {"AMD64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine(), platform.machine()
    )
    if architecture == "aarch64":
        return TARGETS["neon"]
    if architecture != "x86_64":
        return Machine(4, 16, architecture)
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= features():
        return TARGETS["avx512"]
    return TARGETS["avx2" if {"avx2", "fma"} <= features() else "sse4"]


def targets() -> dict[str, Machine]:
    """The targets whose code this processor runs, by name, the widest first."""
    own = processor()
    return {
        name: machine
        for name, machine in TARGETS.items()
        if machine.architecture == own.architecture and machine.lanes <= own.lanes
    }


def machine() -> Machine:
    """What we compute with: the target that CONVMILL_TARGET names, or else the whole processor.

    Raises ValueError where this processor has no such target.
    """
    name = settings.target()
    if name is None:
        return processor()
    known = targets()
    if name not in known:
        choice = f"one of {', '.join(known)}, which this processor has" if known else "unset here"
        raise ValueError(f"CONVMILL_TARGET must be {choice}. Received: CONVMILL_TARGET={name!r}")
    return known[name]


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(threads: int | None) -> int:
    """How many threads to use: all cores by default.

    Raises ValueError where ``threads`` is no whole number from 1 to 256.
    """
    if threads is None:
        return min(cores(), MAX_THREADS)
    return check_threads(threads)
