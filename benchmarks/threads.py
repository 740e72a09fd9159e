"""`python -m benchmarks.threads`: how much faster more threads train. It asserts no time.

convmill's processes with one thread, two and so on, each held to as many cores, are all alive and
asked in turn for one timed chunk.
"""

import click

from benchmarks.names import Names, choice
from benchmarks.nets import NETS
from benchmarks.options import repeats_option, target_option, threads_option
from benchmarks.peers import PEERS, held_to
from benchmarks.process import WorkerProcess, start
from benchmarks.results import summarise

DEFAULT = "notebook,resnet-8,cifar10-cnn"


@click.command(context_settings={"show_default": True})
@click.option("--nets", type=Names(NETS), default=DEFAULT, help=choice(NETS))
@repeats_option
@threads_option
@target_option
@click.option("--seconds", type=click.FloatRange(0.01), default=1.5, help="Length of a chunk.")
def main(nets: list[str], repeats: int, threads: int, target: str | None, seconds: float) -> None:
    """Measure training in images/s by 1, 2, 4 ... threads, and over one: of each round."""
    counts = [1]
    while 2 * counts[-1] <= threads:
        counts.append(2 * counts[-1])
    for net in nets:
        rates = _measure(net, counts, repeats, target, seconds)
        for count in counts:
            over = [more / one for more, one in zip(rates[count], rates[1], strict=True)]
            told = summarise(rates[count]).told()
            click.echo(f"{net}, {count} threads: {told} images/s, {summarise(over).told('.2f')}")


def _measure(
    net: str, counts: list[int], repeats: int, target: str | None, seconds: float
) -> dict[int, list[float]]:
    """Images a second in each round, by the number of threads."""
    peer = held_to(PEERS["convmill"], target)
    workers: dict[int, WorkerProcess] = {}
    rates: dict[int, list[float]] = {count: [] for count in counts}
    try:
        for count in counts:
            workers[count] = start(peer, net, count)
        for number in range(repeats):
            for turn in range(len(counts)):
                count = counts[(number + turn) % len(counts)]
                chunk = workers[count].ask("train", seconds=seconds)
                rates[count].append(chunk["images"] / chunk["seconds"])
    finally:
        for worker in workers.values():
            worker.stop()
    return rates


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.threads")
