"""The tables: one content, shown by rich on a terminal or as Markdown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.costs import roof, training_multiply_adds
from benchmarks.nets import NETS
from benchmarks.peers import OURS, OWN
from benchmarks.results import WHAT, NetResult, PeerResult, Run, over, summarise

BUSY_CORES = 0.1


@dataclass(frozen=True)
class Grid:
    """A table; the first row holds the headings, the first column the peers."""

    rows: list[list[str]]


@dataclass(frozen=True)
class NetReport:
    title: str
    grids: list[Grid]
    lines: list[str]


def ratio(value: float | None) -> str:
    """How many times; "-" where it was not measured."""
    return "-" if value is None else f"{value:.2f}"


def _rate_cells(peer: PeerResult, best: PeerResult | None, what: str) -> list[str]:
    """The rate with its spread, and its ratio to the best of the others."""
    return [peer.summary(what).told(), ratio(over(peer, best, what))]


def _speed_grid(result: NetResult, limit: float | None) -> Grid:
    """Training and evaluation rates; ratios are to the best of the others."""
    rows = [["", "train images/s", "of best", "of roof", "evaluate images/s", "of best"]]
    best = {what: result.best_other(what) for what in WHAT}
    for peer in result.peers:
        if not peer.measured:
            rows.append([peer.label, *["-"] * 5])
            continue
        training, evaluation = (_rate_cells(peer, other, what) for what, other in best.items())
        share = f"{peer.summary('training').median / limit:.0%}" if limit else "-"
        rows.append([peer.label, *training, share, *evaluation])
    return Grid(rows)


def _cost_grid(result: NetResult) -> Grid:
    """Seconds before the first result, memory, and the batch of the evaluation above."""
    seconds = ["import s", "build s", "first step s", "first evaluation s"]
    rows = [["", *seconds, "peak MB", "evaluation batch"]]
    for peer in result.peers:
        if not peer.measured:
            rows.append([peer.label, *["-"] * 6])
            continue
        first = peer.trials[0].first_seconds
        times = (peer.import_seconds, peer.build_seconds, peer.first_step_seconds, first)
        memory = f"{peer.peak_memory / 1e6:,.0f}" if peer.peak_memory else "-"
        batch = str(peer.evaluation_batch)
        rows.append([peer.label, *(f"{value:.2f}" for value in times), memory, batch])
    return Grid(rows)


def _comparison(result: NetResult) -> list[str]:
    """convmill against the best of the others, in words; empty where either is missing."""
    ours = result.measured(OURS)
    if ours is None:
        return []
    lines = []
    forms = [peer for peer in result.peers if peer.name in OWN and peer.measured]
    for what in WHAT:
        best = result.best_other(what)
        others = [(best, f"the best of the others ({best.label})")] if best else []
        others += [(form, form.label) for form in forms if form is not ours]
        lines += [
            f"convmill's {what}: {ratio(over(ours, other, what))} times {whose}."
            for other, whose in others
        ]
    memory = {
        peer.label: peer.peak_memory
        for peer in result.peers
        if peer.name not in OWN and peer.peak_memory
    }
    if ours.peak_memory and memory:
        label, least = min(memory.items(), key=lambda item: item[1])
        times = ratio(ours.peak_memory / least)
        lines.append(f"convmill's peak memory: {times} times the least of the others ({label}).")
    return lines


def _roofline_line(result: NetResult, peak: float) -> str:
    training, evaluation = (roof(NETS[result.name], what, peak) for what in WHAT)
    return (
        f"Dense roofline at {peak:.0f} GFLOP/s: {training:,.0f} images/s training, "
        f"{evaluation:,.0f} evaluating."
    )


def contention(results: list[NetResult]) -> list[str]:
    """A warning where other programs ran during the timed chunks."""
    peers = [peer for result in results for peer in result.peers]
    chunks = [chunk for peer in peers for chunk in (*peer.training, *peer.evaluation)]
    others = [chunk.others for chunk in chunks if chunk.others is not None]
    if not others or summarise(others).median < BUSY_CORES:
        return []
    cores = summarise(others)
    return [
        f"PROVISIONAL: other programs took {cores.median:.1f} cores "
        f"({cores.low:.1f}..{cores.high:.1f}) meanwhile. Measure again on a machine at rest."
    ]


def net_report(result: NetResult, peak: float | None) -> NetReport:
    """The tables of one net and the lines under them; `peak` in GFLOP/s."""
    net = NETS[result.name]
    multiply_adds = training_multiply_adds(net)
    lines = contention([result]) + _comparison(result)
    lines += [_roofline_line(result, peak)] if peak else []
    lines += sorted({f"Data: {peer.data}." for peer in result.peers if peer.data})
    lines += [f"{peer.label}: no figures. {peer.note}" for peer in result.peers if peer.note]
    title = (
        f"{net.name}: {net.parameters:,} parameters, batch {net.batch}, {net.optimizer}, "
        f"{multiply_adds / 1e6:.2f} M multiply-adds an image to train"
    )
    limit = roof(net, "training", peak)
    return NetReport(title, [_speed_grid(result, limit), _cost_grid(result)], lines)


def versions(of_peers: Iterable[Mapping[str, str]]) -> list[str]:
    """All packages that peers had, each with its versions."""
    seen: dict[str, set[str]] = {}
    for packages in of_peers:
        for package, version in packages.items():
            seen.setdefault(package, set()).add(version)
    return [f"{package} {' and '.join(sorted(seen[package]))}" for package in sorted(seen)]


def _targets(run: Run) -> list[str]:
    """The instructions that convmill compiled for."""
    found = {peer.target for net in run.nets for peer in net.peers if peer.name == OURS}
    return sorted(target for target in found if target)


def header(run: Run) -> list[str]:
    """The machine, the versions, and how it was measured."""
    machine, options = run.machine, run.options
    packages = ", ".join(versions(peer.versions for net in run.nets for peer in net.peers))
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        machine["system"],
        "; ".join(filter(None, (machine["date"], f"Python {machine['python']}", packages))),
        f"{options['threads']} threads; medians (least..greatest) of {options['repeats']} "
        f"interleaved chunks of {options['train_seconds']:g} s training and "
        f"{options['evaluate_seconds']:g} s evaluation; {options['dtype']} images",
    ]
    if run.left_out:
        lines.append(f"left out: {'; '.join(run.left_out)}")
    lines += [f"convmill compiles for {target}" for target in _targets(run)]
    if run.single_thread_gigaflops:
        one, peak = max(run.single_thread_gigaflops), run.peak_gigaflops
        lines.append(
            f"FMA peak: {one:.0f} GFLOP/s with one thread"
            + (f", {peak:.0f} with {options['threads']}" if peak else "")
        )
    for statement, seconds in run.imports.items():
        shown = summarise(seconds) if seconds else None
        text = f"{shown.median:.2f} s ({shown.low:.2f}..{shown.high:.2f})" if shown else "failed"
        lines.append(f"{statement}: {text}")
    return lines


def show(run: Run, console: Console) -> None:
    """The whole report on a terminal."""

    def lines(texts: list[str]) -> None:
        for text in texts:
            console.print(text, highlight=False, markup=False, soft_wrap=True)

    lines(header(run))
    for result in run.nets:
        content = net_report(result, run.peak_gigaflops)
        console.print()
        console.print(content.title, style="bold", highlight=False, markup=False)
        for grid in content.grids:
            headings, *rows = grid.rows
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for index, heading in enumerate(headings):
                table.add_column(heading, justify="right" if index else "left", no_wrap=not index)
            for row in rows:
                table.add_row(*row, style="bold" if row[0] == OURS else None)
            console.print(table)
        lines(content.lines)


def markdown_grid(grid: Grid) -> str:
    """The table as Markdown."""
    headings, *rows = grid.rows
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *rows))


def markdown(run: Run) -> str:
    """The whole report as Markdown."""
    parts = ["\n".join(f"- {line}" for line in header(run))]
    for result in run.nets:
        content = net_report(result, run.peak_gigaflops)
        notes = "\n".join(f"- {line}" for line in content.lines)
        parts += [f"### {content.title}", *map(markdown_grid, content.grids), notes]
    return "\n\n".join(parts) + "\n"
