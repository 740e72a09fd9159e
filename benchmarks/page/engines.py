"""The sections on nets and engines: how fast each trains and evaluates, and its memory."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.page import figures
from benchmarks.page.gathered import NETS_PART, Gathered, Net
from benchmarks.page.text import prose, section, source, table
from benchmarks.peers import OURS, OWN, PEERS
from benchmarks.report import contention, ratio
from benchmarks.results import WHAT, PeerResult, over


def labels(gathered: Gathered) -> dict[str, str]:
    """Who has figures on any net, by name: convmill and its forms first."""
    found = {
        peer.name: peer.label
        for net in gathered.nets.values()
        for peer in net.result.peers
        if peer.measured
    }
    first = [name for name in OWN if name in found]
    rest = sorted((name for name in found if name not in OWN), key=list(PEERS).index)
    return {name: found[name] for name in (*first, *rest)}


def _rate(peer: PeerResult | None, what: str) -> str:
    return peer.summary(what).told() if peer else "-"


def _ratio_table(gathered: Gathered, what: str) -> str:
    """Convmill's rate on each net, in each form, beside the best peer."""
    there = labels(gathered)
    avx2, before = figures.AVX2 in there, figures.BEFORE in there
    rows = [
        ["net", "images/s", "best peer", "over it", "over the roofline"]
        + ["AVX2, images/s", "over the best peer"] * avx2
        + ["over before"] * before
    ]
    for name, net in gathered.nets.items():
        result = net.result
        ours, best = result.measured(OURS), result.best_other(what)
        cells = [name, _rate(ours, what)]
        cells += [f"{_rate(best, what)}, {best.label}" if best else "-"]
        cells += [ratio(result.over_best(what)), ratio(figures.over_roof(net, what))]
        if avx2:
            cells += [_rate(result.measured(figures.AVX2), what)]
            cells += [ratio(result.over_best(what, figures.AVX2))]
        if before:
            cells += [ratio(over(ours, result.measured(figures.BEFORE), what))]
        rows.append(cells)
    return table(rows)


def _medians(
    gathered: Gathered,
    told: Callable[[PeerResult], str],
    roof: Callable[[Net], float | None] | None = None,
) -> str:
    """One figure of each net and engine."""
    there = labels(gathered)
    rows = [["net", *(["dense roofline"] if roof else []), *there.values()]]
    for name, net in gathered.nets.items():
        limit = roof(net) if roof else None
        cells = [f"{limit:,.0f}" if limit else "-"] if roof else []
        measured = [net.result.measured(each) for each in there]
        rows.append([name, *cells, *(told(peer) if peer else "-" for peer in measured)])
    return table(rows)


def means(gathered: Gathered, name: str = OURS) -> str:
    """The geometric means and the least ratios over the best peer, in words."""
    parts = []
    for what in WHAT:
        if ratios := figures.ratios(gathered, what, name):
            least, whose = figures.least(ratios)
            mean = figures.geometric_mean(ratios)
            parts.append(f"{what} {mean:.2f}, least {least:.2f} (`{whose}`)")
    return "; ".join(parts)


def speed(gathered: Gathered) -> str | None:
    """Training and evaluation, by net and engine."""
    if not gathered.nets:
        return None
    parts = [*map(source, gathered.records[NETS_PART])]
    parts += [
        prose(
            "Images a second: medians (least..greatest) of interleaved chunks; what the nets are "
            "and how they are measured stands in [benchmarks/README.md](../benchmarks/README.md). "
            "The dense roofline is the rate of a program that skips nothing and keeps all FMA "
            "units busy."
        )
    ]
    if remarks := _remarks(gathered):
        parts += ["\n".join(f"- {line}" for line in remarks)]
    if told := means(gathered):
        parts += [prose(f"Geometric means over the best peer: {told}.")]
    if told := means(gathered, figures.AVX2):
        parts += [prose(f"Held to AVX2, over peers that use all that the CPU has: {told}.")]
    parts += ["![Images a second of each net and engine](benchmarks/nets.svg)"]
    return section("Training and evaluation", *parts, *(_tables(gathered, what) for what in WHAT))


def _tables(gathered: Gathered, what: str) -> str:
    """Convmill beside the best peer, and the medians of all engines."""

    def median(peer: PeerResult) -> str:
        return f"{peer.summary(what).median:,.0f}"

    medians = _medians(gathered, median, lambda net: figures.roof(net, what))
    parts = [f"### {what.capitalize()}", _ratio_table(gathered, what)]
    return "\n\n".join([*parts, "Medians of all engines:", medians])


def _remarks(gathered: Gathered) -> list[str]:
    """On which images, who is missing, and whether other programs ran."""
    images: dict[str, list[str]] = {}  # of each kind, the nets
    for name, net in gathered.nets.items():
        for data in sorted({peer.data for peer in net.result.peers if peer.data}):
            images.setdefault(data, []).append(f"`{name}`")
    lines = [f"{', '.join(names)}: {data}." for data, names in images.items()]
    lines += contention([net.result for net in gathered.nets.values()])
    lines += [f"Left out: {each}." for run in gathered.runs() for each in run.left_out]
    lines += [
        f"{name}, {peer.label}: no figures. {peer.note}"
        for name, net in gathered.nets.items()
        for peer in net.result.peers
        if peer.note
    ]
    return lines


def memory(gathered: Gathered) -> str | None:
    """Peak memory."""
    nets = gathered.nets
    if not any(peer.peak_memory for net in nets.values() for peer in net.result.peers):
        return None
    parts = ["MB that a process had held at most, in the same runs as training and evaluation."]
    if "notebook" in nets:
        rows = [["notebook", "framework and data", "model built", "trained", "at the end"]]
        rows[0] += ["trained, over framework and data"]
        for peer in nets["notebook"].result.peers:
            if peer.measured and peer.peak_memory:
                stages = (peer.base_memory, peer.built_memory, peer.trained_memory)
                cells = [_megabytes(each) for each in (*stages, peer.peak_memory)]
                rows.append([peer.label, *cells, _megabytes(figures.over_base(peer))])
        parts += ["![Memory of a process](benchmarks/memory.svg)", table(rows)]
    parts += [
        "At the end, of all nets:",
        _medians(gathered, lambda peer: _megabytes(peer.peak_memory)),
    ]
    return section("Memory", *parts)


def _megabytes(value: float | None) -> str:
    return f"{value / 1e6:,.0f}" if value is not None else "-"
