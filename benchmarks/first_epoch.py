"""`python -m benchmarks.first_epoch`: seconds from the start of Python to the end of a training's
beginning, in new processes. It asserts no time.

convmill trains a whole epoch of the training images, its peers so many steps. Nothing is taken from
a cache on the disk: the process imports, builds, compiles and trains.
"""

import time
from dataclasses import replace
from pathlib import Path

import click

from benchmarks import record, setup_peers
from benchmarks.names import Names, choice
from benchmarks.nets import NETS
from benchmarks.options import Count, json_option, repeats_option, threads_option
from benchmarks.peers import OWN, PEERS, Peer, chosen
from benchmarks.process import WorkerError, WorkerProcess
from benchmarks.results import summarise

DEFAULT = "convmill,keras-tensorflow,keras-jax,jax,torch,torch-channels-last"


@click.command(context_settings={"show_default": True})
@click.option("--net", type=click.Choice(list(NETS)), default="notebook")
@click.option("--peers", type=Names(PEERS), default=DEFAULT, help=choice(PEERS))
@click.option("--steps", type=Count(1), default=50, help="Steps of each peer.")
@repeats_option
@threads_option
@json_option
def main(
    net: str, peers: list[str], steps: int, repeats: int, threads: int, json_file: Path | None
) -> None:
    """Measure seconds from nothing to a trained epoch, or to a peer's first steps."""
    begun = record.begin("first_epoch")
    known, _ = chosen(peers, None)
    if any(peer.python == "peers" for peer in known):
        setup_peers.main()
    found: dict[str, list[float]] = {peer.name: [] for peer in known}
    versions: dict[str, dict[str, str]] = {}
    for number in range(repeats + 1):  # the first fills the disk's cache and does not count
        for peer in known:
            try:
                count = None if peer.name in OWN else steps
                seconds, versions[peer.name] = _seconds(peer, net, count, threads)
            except (WorkerError, OSError) as error:
                click.echo(f"{peer.label}: {error}", err=True)
                continue
            if number:
                found[peer.name].append(seconds)
    for peer in known:
        if found[peer.name]:
            what = "an epoch" if peer.name in OWN else f"{steps} steps"
            click.echo(f"{peer.label}, {what}: {summarise(found[peer.name]).told('.2f')} s")
    if json_file:
        record.write(replace(begun, samples=found, versions=versions), json_file)


def _seconds(peer: Peer, net: str, steps: int | None, threads: int) -> tuple[float, dict[str, str]]:
    """Seconds of one new process, and its packages' versions."""
    start = time.perf_counter()
    worker = WorkerProcess(peer, threads)
    try:
        worker.build("begin", net, steps=steps)
        return time.perf_counter() - start, worker.versions
    finally:
        worker.stop()


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.first_epoch")
