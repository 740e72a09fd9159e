"""`python -m benchmarks.first_epoch`: seconds from the start of Python to the end of a training's
beginning, in new processes. It asserts no time.

convmill trains a whole epoch of the training images, its peers so many steps. Nothing is taken from
a cache on the disk: the process imports, builds, compiles and trains.
"""

import time

import click

from benchmarks import setup_peers
from benchmarks.names import Names, choice
from benchmarks.nets import NETS
from benchmarks.options import repeats_option, threads_option
from benchmarks.peers import PEERS, Peer
from benchmarks.process import START_TIMEOUT, WorkerError, WorkerProcess, asked_to_build
from benchmarks.results import summarise

DEFAULT = "convmill,keras-tensorflow,keras-jax,jax,torch,torch-channels-last"


@click.command(context_settings={"show_default": True})
@click.option("--net", type=click.Choice(list(NETS)), default="notebook")
@click.option("--peers", type=Names(PEERS), default=DEFAULT, help=choice(PEERS))
@click.option("--steps", type=click.IntRange(1), default=50, help="Steps of each peer.")
@repeats_option
@threads_option
def main(net: str, peers: list[str], steps: int, repeats: int, threads: int) -> None:
    """Measure seconds from nothing to a trained epoch, or to a peer's first steps."""
    known = [PEERS[name] for name in peers]
    if any(peer.python == "peers" for peer in known):
        setup_peers.main()
    found: dict[str, list[float]] = {peer.name: [] for peer in known}
    for number in range(repeats + 1):  # the first fills the disk's cache and does not count
        for peer in known:
            try:
                seconds = _seconds(peer, net, None if peer.name == "convmill" else steps, threads)
            except (WorkerError, OSError) as error:
                click.echo(f"{peer.label}: {error}", err=True)
                continue
            if number:
                found[peer.name].append(seconds)
    for peer in known:
        if found[peer.name]:
            what = "an epoch" if peer.name == "convmill" else f"{steps} steps"
            click.echo(f"{peer.label}, {what}: {summarise(found[peer.name]).told('.2f')} s")


def _seconds(peer: Peer, net: str, steps: int | None, threads: int) -> float:
    """Seconds of one new process."""
    start = time.perf_counter()
    worker = WorkerProcess(peer, threads)
    try:
        worker.ask("begin", START_TIMEOUT, steps=steps, **asked_to_build(peer, net, threads))
        return time.perf_counter() - start
    finally:
        worker.stop()


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.first_epoch")
