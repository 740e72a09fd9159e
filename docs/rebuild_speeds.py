"""Measures and draws all that the README says of speed, in one run on this machine.

    python docs/rebuild_speeds.py [--benchmark FILE.json]

In this order: the benchmark; `make demo` in a terminal, which becomes docs/terminal.svg; `convmill
inspect` in one, which becomes docs/inspect.svg. What stands in README.md between ``<!-- speed -->``
and ``<!-- end of speed -->`` becomes the benchmark's table, and a paragraph that holds the three
speeds beside each other. ``--benchmark`` takes the raw samples of ``python -m benchmarks --json``
instead of measuring again: of this machine and this code, or the three do not belong together.
Needs tmux. Use a machine at rest.
"""

from __future__ import annotations

import argparse
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import fill
from typing import Any

from terminal_picture import draw

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import record  # noqa: E402
from benchmarks.peers import OURS, OWN  # noqa: E402

README = ROOT / "README.md"
BLOCK = re.compile(r"(?<=<!-- speed -->\n).*?(?=<!-- end of speed -->)", re.DOTALL)
RATE = re.compile(r"([\d,]+) images/s")
WIDTH = 110  # of the README's lines
DEMO, DEMO_COLUMNS = "examples/mnist_convnet.py", 84
DESIGN, INSPECT_COLUMNS = "examples/designs.py:notebook", 100


def table(run: dict[str, Any]) -> str:
    """The benchmark's first net as Markdown, the fastest first, ours in bold."""
    peers = measured(run)
    peers.sort(key=lambda peer: statistics.median(rates(peer["training"])), reverse=True)
    rows = [
        "| | training, images/s | evaluation, images/s | peak memory, MB |",
        "|---|---:|---:|---:|",
    ]
    for peer in peers:
        bold = "**" if peer["name"] == OURS else ""
        cells = [spread(rates(peer[what]), bold) for what in ("training", "evaluation")]
        memory = f"{peer['peak_memory'] / 1e6:,.0f}" if peer["peak_memory"] else "-"
        rows.append(f"| {bold}{peer['label']}{bold} | {' | '.join(cells)} | {memory} |")
    return "\n".join(rows)


def measured(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The peers that have figures."""
    return [peer for peer in run["nets"][0]["peers"] if peer["training"] and peer["evaluation"]]


def rates(chunks: list[dict[str, Any]]) -> list[float]:
    """Images a second of each timed stretch."""
    return [chunk["images"] / chunk["seconds"] for chunk in chunks]


def spread(samples: list[float], bold: str = "") -> str:
    """The median, with the least and the greatest."""
    median = f"{bold}{statistics.median(samples):,.0f}{bold}"
    return f"{median} ({min(samples):,.0f}..{max(samples):,.0f})"


def spoken_rates(transcript: str) -> list[float]:
    """Every "16,051 images/s" that a terminal showed, colours aside."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", transcript)
    return [float(number.replace(",", "")) for number in RATE.findall(plain)]


def paragraph(run: dict[str, Any], epochs: list[float], predicted: float) -> str:
    """The machine, the table, the ratios and the three speeds."""
    machine, options = run["machine"], run["options"]
    peak = max(run["nets"][0]["peak_gigaflops"], default=0.0)
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}; {options['threads']} "
        f"threads, medians (least..greatest) of {options['repeats']} interleaved rounds; the "
        f"machine's FMA peak in the same run is {peak:.0f} GFLOP/s:"
    )
    speeds = (
        f"On the same machine the epochs of `make demo` ran at {min(epochs):,.0f} to "
        f"{max(epochs):,.0f} images/s, and `convmill inspect` predicted {predicted:,.0f}. The "
        "table's figure is the median of whole calls of `fit`, in turns with the other frameworks; "
        "an epoch's rate is what `fit` shows with the machine to itself; a prediction is made from "
        "the layers, before anything is trained."
    )
    parts = [fill(where, WIDTH), table(run), fill(f"{ratios(run)}{speeds}", WIDTH)]
    return "\n\n".join(parts) + "\n"


def ratios(run: dict[str, Any]) -> str:
    """How many times as fast as the best of the others, where there are others."""
    peers = measured(run)
    found = []
    for what in ("training", "evaluation"):
        medians = {peer["name"]: statistics.median(rates(peer[what])) for peer in peers}
        others = [median for name, median in medians.items() if name not in OWN]
        if others:
            found.append(f"{what} {medians[OURS] / max(others):.1f} times")
    return f"As fast as the best of the others: {', '.join(found)}. " if found else ""


def in_terminal(command: list[str], columns: int) -> str:
    """What a terminal shows of a command when it has ended, with its colours.

    Raises:
        SystemExit: there is no tmux, or the command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        shown, code = Path(folder, "shown"), Path(folder, "code")
        tmux = ["tmux", "-f", "/dev/null", "-S", str(Path(folder, "socket"))]
        capture = shlex.join([*tmux, "capture-pane", "-e", "-p", "-S", "-"])
        ended = shlex.join([*tmux, "wait-for", "-S", "ended"])
        line = f"{shlex.join(command)}; echo $? > {code}; {capture} > {shown}; {ended}"
        size = ["-x", str(columns), "-y", "60"]
        try:
            subprocess.run([*tmux, "new-session", "-d", *size, line], check=True, cwd=ROOT)
        except FileNotFoundError:
            raise SystemExit("There is no tmux, which shows what a terminal shows.") from None
        # it may be gone already, and its server with it
        subprocess.run([*tmux, "wait-for", "ended"], check=False, capture_output=True)
        text = shown.read_text(encoding="utf-8")
        if code.read_text().strip() != "0":
            raise SystemExit(f"{shlex.join(command)} failed:\n{text.rstrip()}")
        return text


def benchmark(file: Path | None) -> dict[str, Any]:
    """The raw samples of the benchmark: those in ``file``, or of a run now."""
    if file is None:
        file = ROOT / "build" / "benchmark.json"
        file.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "benchmarks", "--json", str(file)]
        subprocess.run(command, check=True, cwd=ROOT)
    run = record.read(file)
    return {**run.samples, "machine": run.machine, "options": run.options}


def main() -> None:
    """Measure, draw, and write the README's paragraph."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--benchmark", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise SystemExit("README.md has no <!-- speed --> and <!-- end of speed -->.")
    run = benchmark(options.benchmark)
    demo = in_terminal([sys.executable, DEMO], DEMO_COLUMNS)
    draw(demo, ROOT / "docs" / "terminal.svg", "make demo", DEMO_COLUMNS)
    inspect = in_terminal([sys.executable, "-m", "convmill", "inspect", DESIGN], INSPECT_COLUMNS)
    title = f"convmill inspect {DESIGN}"
    draw(inspect, ROOT / "docs" / "inspect.svg", title, INSPECT_COLUMNS)
    (predicted,) = spoken_rates(inspect)
    written = paragraph(run, spoken_rates(demo), predicted)
    README.write_text(BLOCK.sub(lambda _: written, text), encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main()
