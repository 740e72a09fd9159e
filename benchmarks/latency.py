"""`python -m benchmarks.latency`: how long one call takes, on one image. It asserts no time.

Each peer lives in a process of its own; in each round all are asked in turn for one stretch of
calls, one behind the other, of which the median counts. Keras' methods are compared with what the
others have in their places: PyTorch's `model(x)` and a jitted JAX function, with the result as an
array of NumPy's, and one step of training with its loss as a number.
"""

from dataclasses import replace
from pathlib import Path

import click

from benchmarks import record, setup_peers
from benchmarks.names import Names, choice
from benchmarks.nets import NETS
from benchmarks.options import Seconds, json_option, repeats_option, target_option, threads_option
from benchmarks.peers import PEERS, Peer, chosen
from benchmarks.process import WorkerError, WorkerProcess, start
from benchmarks.results import Summary, summarise

CALLS = ("predict_on_batch", "predict", "train_on_batch")
# What has no `predict` is compared by the call that predicts.
INSTEAD = {"predict": "predict_on_batch"}
DEFAULT = "convmill,keras-tensorflow,keras-jax,jax,torch,torch-channels-last"
Samples = dict[str, list[float]]  # of each call, microseconds


@click.command(context_settings={"show_default": True})
@click.option("--net", type=click.Choice(list(NETS)), default="notebook")
@click.option("--peers", type=Names(PEERS), default=DEFAULT, help=choice(PEERS))
@repeats_option
@threads_option
@target_option
@click.option("--seconds", type=Seconds(0.01), default=0.5, help="Length of a stretch.")
@json_option
def main(
    net: str,
    peers: list[str],
    repeats: int,
    threads: int,
    target: str | None,
    seconds: float,
    json_file: Path | None,
) -> None:
    """Measure single calls, in microseconds: median (least..greatest) of the rounds' medians."""
    begun = record.begin("latency")
    known, _ = chosen(peers, target)
    if any(peer.python == "peers" for peer in known):
        setup_peers.main()
    found, versions = _measure(net, known, repeats, threads, seconds)
    if json_file:
        record.write(replace(begun, samples=found, versions=versions), json_file)
    if target is not None:
        click.echo(f"convmill is held to {target}")
    for line in _table(found, known):
        click.echo(line)


def _measure(
    net: str, peers: list[Peer], repeats: int, threads: int, seconds: float
) -> tuple[dict[str, Samples], dict[str, dict[str, str]]]:
    """Samples of each peer, and its versions; a peer that fails has no more from there on."""
    workers: dict[str, WorkerProcess] = {}
    versions: dict[str, dict[str, str]] = {}
    found: dict[str, Samples] = {peer.name: {call: [] for call in CALLS} for peer in peers}
    try:
        for peer in peers:
            try:
                workers[peer.name] = start(peer, net, threads)
                versions[peer.name] = workers[peer.name].versions
            except (WorkerError, OSError) as error:
                click.echo(f"{peer.label}: {error}", err=True)
        for number in range(repeats):
            for turn in range(len(peers)):
                peer = peers[(number + turn) % len(peers)]  # nobody always follows the same one
                if peer.name not in workers:
                    continue
                try:
                    _take(workers[peer.name], found[peer.name], seconds)
                except WorkerError as error:
                    click.echo(f"{peer.label}: {error}", err=True)
                    workers.pop(peer.name).stop()
    finally:
        for worker in workers.values():
            worker.stop()
    return found, versions


def _take(worker: WorkerProcess, samples: Samples, seconds: float) -> None:
    """A stretch of each call."""
    for call in CALLS:
        median = worker.ask("latency", call=call, seconds=seconds)["microseconds"]
        if median is not None:
            samples[call].append(median)


def _table(found: dict[str, Samples], peers: list[Peer]) -> list[str]:
    """Lines of text: of each call every peer, the fastest first, and how many times as long as
    convmill it took."""
    lines = []
    for call in CALLS:
        every = {peer.label: of_call(found[peer.name], call) for peer in peers}
        there = {label: summary for label, summary in every.items() if summary is not None}
        ours = there.get(PEERS["convmill"].label)
        for label, summary in sorted(there.items(), key=lambda one: one[1].median):
            ratio = summary.median / ours.median if ours else None
            told = "" if ratio is None or summary is ours else f", {ratio:.2f} times convmill's"
            lines.append(f"{call}, {label}: {summary.told()} us{told}")
    return lines


def of_call(samples: Samples, call: str) -> Summary | None:
    """The summary of a call, or of what is there in its place."""
    there = samples[call] or samples.get(INSTEAD.get(call, call), [])
    return summarise(there) if there else None


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.latency")
