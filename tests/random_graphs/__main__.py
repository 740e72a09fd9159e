"""Trains random nets compiled and by plain Keras, and shrinks those on which the two part.

    python -m tests.random_graphs [--count N] [--seed S] [--most M] [--seconds T]

Nets are drawn from the seeds S, S + 1, ... (``draw.py``), trained 10 steps (``compare.py``), and
each is told in a line. Losses, weights with BatchNormalization's statistics, and predictions must
agree, and 1, 2, 3 and 7 threads must find the same bits. Even seeds compile for this machine, odd
ones for AVX2. A net that parts from Keras on three draws of weights and data is shrunk and printed
as Python, for ``tests/train/test_random_graphs.py``; one that does so on fewer may have met a tie
of two numbers, and is told as doubtful. ``--count 1`` runs one net again. Exits with 1 where
anything parts or fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from convmill.plan.refusals import NotCovered
from convmill.runtime import host, jit
from tests.random_graphs.compare import Outcome, compare
from tests.random_graphs.draw import draw
from tests.random_graphs.net import Net, source
from tests.random_graphs.shrink import shrunk

DRAWS = 3  # of weights and data, that tell a fault from a tie


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_graphs")
    parser.add_argument("--count", type=int, default=100, help="nets")
    parser.add_argument("--seed", type=int, default=0, help="of the first net")
    parser.add_argument("--most", type=int, default=26, help="layers, those of heads aside")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no net is begun later")
    options = parser.parse_args(arguments)
    end, counts = time.monotonic() + options.seconds, Counter[str]()
    for seed in range(options.seed, options.seed + options.count):
        if time.monotonic() > end:
            break
        net = draw(seed, most=options.most)
        print(f"{seed}: {len(net.nodes)} layers, ", end="", flush=True)
        verdict = judge(net, "avx2" if seed % 2 and "avx2" in host.targets() else "")
        print(verdict, flush=True)
        counts[verdict.split(":")[0]] += 1
        counts["layers"] += len(net.nodes)
        jit.forget()  # native code of a thousand nets would fill the memory
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))
    return 1 if counts["parts"] or counts["fails"] else 0


def judge(net: Net, target: str) -> str:
    """What is found of a net: its first word says whether it agrees, parts, fails or is refused."""
    try:
        outcome = compare(net, target=target)
    except NotCovered as refusal:
        return f"refused: {refusal}"
    except Exception:
        return f"fails: {traceback.format_exc(limit=-4)}{source(net)}"
    if outcome.skipped:
        return f"skipped: {outcome.skipped}"
    if not outcome.parted:
        return "agrees: float64 decided" if outcome.doubtful else "agrees"
    told = "\n  ".join(outcome.parted)
    others = [_outcome(net, draw_, target) for draw_ in range(1, DRAWS)]
    if not all(one.parted for one in others):
        return f"doubtful: one draw of several\n  {told}\n{source(net)}"
    small = shrunk(net, lambda one: _parts(one, target))
    return f"parts:\n  {told}\nshrunk:\n{source(small)}\n{_outcome(small, 0, target)}"


def _parts(net: Net, target: str) -> bool:
    return all(_outcome(net, draw_, target).parted for draw_ in range(2))


def _outcome(net: Net, draw_: int, target: str) -> Outcome:
    """Of another draw of weights and data; nothing parts where Keras refuses the net."""
    try:
        return compare(net, draw_, target=target)
    except Exception as error:
        return Outcome(skipped=str(error))


if __name__ == "__main__":
    sys.exit(main())
