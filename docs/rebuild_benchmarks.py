"""Writes docs/benchmarks.md, its picture and the README's table of nets from one run.

    python -m benchmarks --nets ... --peers ... --json FILE.json --markdown > FILE.md
    python docs/rebuild_benchmarks.py FILE.json FILE.md --code COMMIT [--before COMMIT]

Ratios are of medians, to the best peer of the same run; an older convmill beside this one
(``--before``) is no peer, and has a column of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from rebuild_speeds import OURS, README, ROOT, rates, spread

PAGE, PICTURE = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.svg"
BLOCK = re.compile(r"(?<=<!-- nets -->\n).*?(?=<!-- end of nets -->)", re.DOTALL)
BEFORE = "before"
WHAT = ("training", "evaluation")


@dataclass(frozen=True)
class Rate:
    """Images a second of ours and of the best peer, and over convmill as it was before."""

    ours: list[float]
    best: list[float]
    label: str
    before: float | None

    @property
    def ratio(self) -> float:
        """Over the best peer."""
        return statistics.median(self.ours) / statistics.median(self.best)


def rates_of(net: dict[str, Any], what: str) -> Rate:
    """One net's figures."""
    measured = [peer for peer in net["peers"] if peer[what]]
    found = {peer["name"]: (rates(peer[what]), peer["label"]) for peer in measured}
    ours, _ = found.pop(OURS)
    earlier = found.pop(BEFORE, None)
    best, label = max(found.values(), key=lambda each: statistics.median(each[0]))
    before = None
    if earlier is not None:
        before = statistics.median(ours) / statistics.median(earlier[0])
    return Rate(ours, best, label, before)


Nets = dict[str, dict[str, Rate]]


def means(nets: Nets) -> str:
    """The geometric means and the least ratios, in words."""
    parts = []
    for what in WHAT:
        ratios = {name: each[what].ratio for name, each in nets.items()}
        least = min(ratios, key=lambda name: ratios[name])
        mean = statistics.geometric_mean(ratios.values())
        parts.append(f"{what} {mean:.2f}, least {ratios[least]:.2f} (`{least}`)")
    return "; ".join(parts)


def table(nets: Nets) -> str:
    """Everything, a row a net."""
    compared = any(each["training"].before is not None for each in nets.values())
    heads = ["net"]
    for what in WHAT:
        heads += [f"{what}, images/s", "best peer", "ratio"] + ["over before"] * compared
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name, each in nets.items():
        cells = [name]
        for what in WHAT:
            rate = each[what]
            cells += [spread(rate.ours), f"{spread(rate.best)}, {rate.label}", f"{rate.ratio:.2f}"]
            cells += [f"{rate.before:.2f}" if rate.before else "-"] * compared
        rows.append(cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def short_table(nets: Nets) -> str:
    """Ratios alone."""
    rows = ["| net | training | evaluation |", "|---|---:|---:|"]
    rows += [f"| {name} | {' | '.join(f'{each[what].ratio:.2f}' for what in WHAT)} |"
             for name, each in nets.items()]  # fmt: skip
    return "\n".join(rows)


def draw(nets: Nets) -> None:
    """Bars of the ratios, by net, the best training first; a line where a peer is as fast."""
    names = sorted(nets, key=lambda name: nets[name]["training"].ratio)
    figure, axes = plt.subplots(figsize=(7, 0.36 * len(names) + 1), layout="constrained")
    for offset, what, color in ((0.2, "training", "#1f6f8b"), (-0.2, "evaluation", "#e0a458")):
        ratios = [nets[name][what].ratio for name in names]
        places = [place + offset for place in range(len(names))]
        bars = axes.barh(places, ratios, height=0.38, color=color, label=what)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("images a second over the best of the peers")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=Path, metavar="FILE.json")
    parser.add_argument("printed", type=Path, metavar="FILE.md")
    parser.add_argument("--code", required=True, help="the commit that was measured")
    parser.add_argument("--before", help="the commit of the older convmill, if there was one")
    options = parser.parse_args()
    run = json.loads(options.samples.read_text(encoding="utf-8"))
    nets = {net["name"]: {what: rates_of(net, what) for what in WHAT} for net in run["nets"]}
    asked = run["options"]
    peers = [name for name in asked["peers"] if name != BEFORE]
    command = [
        f"python -m benchmarks --peers {','.join(peers)}",
        f"  --nets {','.join(asked['nets'])}",
        f"  --repeats {asked['repeats']} --train-seconds {asked['train_seconds']} "
        f"--evaluate-seconds {asked['evaluate_seconds']}"
        + (" --before FOLDER" if options.before else ""),
    ]
    lines = [
        "# Nets beside their peers",
        f"What one run printed, nothing else at work on the machine, code {options.code}"
        + (f"; FOLDER holds code {options.before}:" if options.before else ":"),
        "```sh\n" + " \\\n".join(command) + "\n```",
        "Few rounds, on a virtual machine: read the ranges. What the nets are, and how they are "
        "measured, stands in\n[benchmarks/README.md](../benchmarks/README.md). Geometric means "
        f"over the best peer: {means(nets)}.",
        "![Images a second over the best of the peers, net by net](benchmarks.svg)",
        table(nets),
        "## As it was printed",
        options.printed.read_text(encoding="utf-8").strip(),
    ]
    PAGE.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    draw(nets)
    readme = README.read_text(encoding="utf-8")
    if not BLOCK.search(readme):
        raise SystemExit("README.md has no <!-- nets --> and <!-- end of nets -->.")
    short = (
        f"All nets, over the best of their peers in one run of {asked['repeats']} interleaved "
        "rounds\n([docs/benchmarks.md](docs/benchmarks.md): the command, the machine and all "
        f"ranges).\nGeometric means: {means(nets)}.\n\n{short_table(nets)}\n"
    )
    README.write_text(BLOCK.sub(lambda _: short, readme), encoding="utf-8")


if __name__ == "__main__":
    main()
