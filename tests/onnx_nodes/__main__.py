"""Runs ONNX's node tests through the compiler, and says how many were expressed and agree.

    python -m tests.onnx_nodes [--only OPERATION ...]

Needs the onnx package. Exits with 1 where a golden output differs.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from tests.onnx_nodes.run import EXPRESS, cases, judge, nodes

COLUMNS = ("agrees", "differs", "not compiled", "not expressed")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.onnx_nodes", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(EXPRESS), help="this operation")
    options = parser.parse_args(arguments)
    found = cases()
    outcomes = []
    for node in nodes(found):
        if options.only and node.operation not in options.only:
            continue
        outcomes.append(judge(node))
        if outcomes[-1].verdict != "agrees":
            last = outcomes[-1]
            print(f"{node.operation} {node.name}: {last.verdict}: {last.why}", flush=True)
    counts = Counter((outcome.node.operation, outcome.verdict) for outcome in outcomes)
    print(f"\n{'':26}" + "".join(f"{column:>15}" for column in COLUMNS))
    for operation in sorted({outcome.node.operation for outcome in outcomes}):
        print(f"{operation:26}" + "".join(f"{counts[operation, each]:15}" for each in COLUMNS))
    total = Counter(outcome.verdict for outcome in outcomes)
    print(f"{'all':26}" + "".join(f"{total[each]:15}" for each in COLUMNS))
    ran = total["agrees"] + total["differs"]
    print(
        f"\nOf {len(found):,} node tests {len(outcomes)} were looked at; {ran} are expressed by a "
        f"Keras net that is compiled, and {total['agrees']} of these agree."
    )
    return 1 if total["differs"] else 0


if __name__ == "__main__":
    sys.exit(main())
