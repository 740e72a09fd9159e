"""The page's pictures, for those of its tables that are better seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.latency import CALLS
from benchmarks.page import figures
from benchmarks.page.engines import labels
from benchmarks.page.gathered import Gathered
from benchmarks.peers import OURS, OWN, PEERS
from benchmarks.results import WHAT, Summary
from convmill.view.style import SMALL_SIZE, Picture, Theme, drawing

MARKS = "oPsDv^<>Xdph"
ROW = 0.3  # inches
TARGET = 99.0  # percent


def nets(gathered: Gathered) -> Picture | None:
    """Images a second: a row for each net, a mark for each engine, a line for the roofline."""
    if not gathered.nets:
        return None
    engines, names = labels(gathered), list(gathered.nets)[::-1]
    with drawing(ROW * len(names) + 1.7, width=10.0) as picture:
        panels = picture.subplots(1, 2, sharey=True)
        for axes, what in zip(panels, WHAT, strict=True):
            for row, name in enumerate(names):
                axes.axhline(row, color=picture.theme.faint, linewidth=0.3, zorder=0)
                if limit := figures.roof(gathered.nets[name], what):
                    axes.plot(
                        [limit, limit], [row - 0.4, row + 0.4], color=picture.theme.ink, linewidth=2
                    )
            for engine, label in engines.items():
                color, mark = _look(picture.theme, engine, list(engines))
                found = [gathered.nets[name].result.measured(engine) for name in names]
                there = [(row, peer) for row, peer in enumerate(found) if peer]
                rates = [peer.summary(what).median for _, peer in there]
                big = 42 if engine == OURS else 20
                rows = [row for row, _ in there]
                axes.scatter(rates, rows, s=big, color=color, marker=mark, label=label, zorder=big)
            _logarithmic(axes)
            axes.set_title(f"{what}, images a second")
        panels[0].plot([], [], color=picture.theme.ink, linewidth=2, label="dense roofline")
        panels[0].set_yticks(range(len(names)), names)
        picture.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return picture


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _look(theme: Theme, name: str, names: list[str]) -> tuple[str, str]:
    """A colour and a mark: all forms of convmill have one colour, its peers share the others, and
    nobody's mark is another's."""
    first, *colors = theme.lines
    color = first if name in OWN else colors[names.index(name) % len(colors)]
    return color, MARKS[names.index(name) % len(MARKS)]


def latency(gathered: Gathered) -> Picture | None:
    """Microseconds of each call, by peer."""
    record = gathered.part("latency")
    if record is None:
        return None
    with drawing(ROW * len(record.samples) + 1.0, width=10.0) as picture:
        panels = picture.subplots(1, len(CALLS))
        for axes, call in zip(panels, CALLS, strict=True):
            _points(axes, picture.theme, figures.calls(record, call))
            axes.set_title(f"{call}, \N{MICRO SIGN}s")
    return picture


def _points(axes: Axes, theme: Theme, found: dict[str, Summary]) -> None:
    """A point for each peer on a logarithmic axis, the quickest on top, with its range."""
    order = list(found)[::-1]
    for row, name in enumerate(order):
        summary, color = found[name], theme.first if name in OWN else theme.faint
        axes.axhline(row, color=theme.faint, linewidth=0.3, zorder=0)
        axes.plot([summary.low, summary.high], [row, row], color=theme.ink, linewidth=0.8)
        axes.scatter([summary.median], [row], s=42, color=color, zorder=2)
        text = f"  {summary.median:,.0f}"
        axes.text(summary.high, row, text, va="bottom", fontsize=SMALL_SIZE)
    axes.set_yticks(range(len(order)), [PEERS[name].label for name in order])
    _logarithmic(axes)
    axes.margins(x=0.25)


def first_epoch(gathered: Gathered) -> Picture | None:
    """Seconds from Python's start, by peer."""
    record = gathered.part("first_epoch")
    if record is None:
        return None
    found = figures.first_epochs(record)
    with drawing(ROW * len(found) + 1.0) as picture:
        axes = picture.subplots()
        _bars(axes, picture.theme, found, "{:.1f}")
        steps = record.options["steps"]
        axes.set_title(f"seconds from Python's start: convmill an epoch, its peers {steps} steps")
    return picture


def _bars(axes: Axes, theme: Theme, found: dict[str, Summary], form: str) -> None:
    """A bar for each peer, the quickest on top, with a line from the least to the greatest."""
    order = sorted(found, key=lambda name: found[name].median, reverse=True)
    for row, name in enumerate(order):
        summary = found[name]
        color = theme.first if name in OWN else theme.faint
        axes.barh(row, summary.median, height=0.7, color=color)
        axes.plot([summary.low, summary.high], [row, row], color=theme.ink, linewidth=0.8)
        text = " " + form.format(summary.median)
        axes.text(summary.high, row, text, va="center", fontsize=SMALL_SIZE)
    axes.set_yticks(range(len(order)), [PEERS[name].label for name in order])
    axes.set_xlim(0, 1.2 * max((summary.high for summary in found.values()), default=1.0))


def threads(gathered: Gathered) -> Picture | None:
    """How many times as fast as one thread, alone and beside busy processes."""
    record = gathered.part("threads")
    if record is None:
        return None
    speedups, beside = figures.speedups(record), figures.beside_busy(record)
    busy = record.options["busy"]
    rows = [(net, count) for net, counts in speedups.items() for count in counts if count > 1]
    if not rows:
        return None
    with drawing(2 * ROW * len(rows) + 1.3) as picture:
        axes, theme = picture.subplots(), picture.theme
        for row, (net, count) in enumerate(rows):
            alone, share = speedups[net][count], figures.fair_share(record, count)
            label = "alone" * (not row)  # once in the legend
            axes.barh(row + 0.2, alone.median, height=0.36, color=theme.first, label=label)
            _mark(axes, theme, row + 0.2, alone, count)
            if found := beside[net].get(count):
                ends = (found.median, found.low, found.high)
                scaled = Summary(*(alone.median * each for each in ends))
                label = f"beside {busy} busy" * (not row)
                axes.barh(row - 0.2, scaled.median, height=0.36, color=theme.second, label=label)
                _mark(axes, theme, row - 0.2, scaled, alone.median * share)
        axes.set_yticks(range(len(rows)), [f"{net}, {count} threads" for net, count in rows])
        axes.set_title("times as fast as one thread alone; line: with its whole share of the CPU")
        picture.legend(loc="outside lower center", ncols=3)
    return picture


def _mark(axes: Axes, theme: Theme, row: float, found: Summary, ideal: float) -> None:
    """The range of a bar, its figure, and a line where it ought to end."""
    axes.plot([found.low, found.high], [row, row], color=theme.ink, linewidth=0.8)
    axes.plot([ideal, ideal], [row - 0.18, row + 0.18], color=theme.ink, linewidth=2)
    look = {"va": "center", "ha": "right", "color": theme.ground, "fontsize": SMALL_SIZE}
    axes.text(found.low, row, f"{found.median:.2f} ", fontdict=look)


def recipes(gathered: Gathered) -> Picture | None:
    """Test accuracy over seconds of training: a mark for each seed."""
    record = gathered.part("recipes")
    if record is None:
        return None
    with drawing(3.6) as picture:
        axes = picture.subplots()
        for recipe, results in record.samples.items():
            color, mark = _look(picture.theme, recipe, list(record.samples))
            seconds = [result["training_seconds"] for result in results]
            values = figures.accuracies(results)
            axes.scatter(seconds, values, s=24, color=color, marker=mark, label=recipe)
        axes.axhline(TARGET, color=picture.theme.faint, linewidth=0.8)
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds of training")
        axes.set_title("test accuracy on MNIST, %")
        axes.legend(loc="upper left")
    return picture


def memory(gathered: Gathered) -> Picture | None:
    """What a process of each peer had held at most, stage by stage, on the notebook."""
    net = gathered.nets.get("notebook")
    peers = [peer for peer in net.result.peers if peer.measured and peer.peak_memory] if net else []
    if not peers:
        return None
    stages = ("base_memory", "built_memory", "trained_memory", "peak_memory")
    names = ("framework and data", "model built", "trained", "evaluated at its best batch")
    peers.sort(key=lambda peer: peer.peak_memory or 0, reverse=True)
    with drawing(ROW * len(peers) + 1.3) as picture:
        axes, theme = picture.subplots(), picture.theme
        colors = (theme.faint, theme.lines[5], theme.first, theme.second)
        for row, peer in enumerate(peers):
            done = 0.0
            for stage, name, color in zip(stages, names, colors, strict=True):
                most = max(done, (getattr(peer, stage) or 0) / 1e6)
                label = name * (not row)
                axes.barh(row, most - done, left=done, height=0.7, color=color, label=label)
                done = most
            axes.text(done, row, f" {done:,.0f}", va="center", fontsize=SMALL_SIZE)
        axes.set_yticks(range(len(peers)), [peer.label for peer in peers])
        axes.set_title("peak memory of a process, notebook, MB")
        picture.legend(loc="outside lower center", ncols=4)
    return picture


PICTURES: dict[str, Callable[[Gathered], Picture | None]] = {
    "nets": nets,
    "latency": latency,
    "threads": threads,
    "first-epoch": first_epoch,
    "recipes": recipes,
    "memory": memory,
}


def draw(gathered: Gathered, folder: Path) -> None:
    """Draw what was measured, and remove what no page shows any more."""
    for name, picture in PICTURES.items():
        file, drawn = folder / f"{name}.svg", picture(gathered)
        if drawn is None:
            file.unlink(missing_ok=True)
        else:
            drawn.savefig(file)
