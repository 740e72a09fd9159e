"""`python -m benchmarks.threads`: how much faster more threads train. It asserts no time.

convmill's processes with one thread, two and so on, each held to as many cores, are all alive and
asked in turn for one timed chunk; with `--busy`, also while so many other processes compute without
end.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks import machine, record
from benchmarks.names import Names, choice
from benchmarks.nets import NETS
from benchmarks.options import (
    Count,
    Seconds,
    json_option,
    repeats_option,
    target_option,
    threads_option,
)
from benchmarks.peers import PEERS, held_to
from benchmarks.process import WorkerProcess, start
from benchmarks.results import Chunk, Summary, summarise

DEFAULT = "notebook,resnet-8,cifar10-cnn"
ALONE, BESIDE = "alone", "beside"
LOOP = "print(flush=True)\nwhile True: pass"
Chunks = dict[str, list[dict[str, Any]]]  # ALONE and BESIDE, one a round


@click.command(context_settings={"show_default": True})
@click.option("--nets", type=Names(NETS), default=DEFAULT, help=choice(NETS))
@repeats_option
@threads_option
@target_option
@click.option("--seconds", type=Seconds(0.01), default=1.5, help="Length of a chunk.")
@click.option("--busy", type=Count(0), default=0, help="Busy processes beside it.")
@json_option
def main(
    nets: list[str],
    repeats: int,
    threads: int,
    target: str | None,
    seconds: float,
    busy: int,
    json_file: Path | None,
) -> None:
    """Measure training in images/s by 1, 2, 4 ... threads, and over one: of each round."""
    begun = record.begin("threads")
    counts = [1]
    while 2 * counts[-1] <= threads:
        counts.append(2 * counts[-1])
    samples: dict[str, dict[str, Chunks]] = {}
    for net in nets:
        found, versions = _measure(net, counts, repeats, target, seconds, busy)
        samples[net] = {str(count): chunks for count, chunks in found.items()}
        for count, chunks in found.items():
            click.echo(_told(net, count, busy, chunks, found[1]))
        if json_file:
            record.write(
                replace(begun, samples=samples, versions={"convmill": versions}), json_file
            )


def fair_share(threads: int, busy: int, cores: int) -> float:
    """Of the CPU time that so many threads have alone, what is theirs beside busy ones, where all
    threads have the same share of the cores."""
    return min(1.0, cores / (threads + busy)) / min(1.0, cores / threads)


def ratios(chunks: list[dict[str, Any]], others: list[dict[str, Any]]) -> Summary:
    """How many times as many images a second as in the other chunk of the same round."""
    pairs = zip(chunks, others, strict=True)
    return summarise([Chunk(**chunk).rate / Chunk(**other).rate for chunk, other in pairs])


def _told(net: str, count: int, busy: int, chunks: Chunks, one: Chunks) -> str:
    """A line of text."""
    alone = chunks[ALONE]
    text = f"{net}, {count} threads: {summarise([Chunk(**each).rate for each in alone]).told()}"
    text += f" images/s, {ratios(alone, one[ALONE]).told('.2f')} times one"
    if busy:
        share = fair_share(count, busy, machine.available_cores())
        text += f"; beside {busy} busy {ratios(chunks[BESIDE], alone).told('.2f')} of that"
        text += f" ({share:.2f} is its share)"
    return text


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that compute without end, as long as the block lasts."""
    processes: list[subprocess.Popen] = []
    try:
        for _ in range(count):
            command = [sys.executable, "-S", "-c", LOOP]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        for process in processes:
            assert process.stdout
            process.stdout.readline()  # it has begun
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _measure(
    net: str, counts: list[int], repeats: int, target: str | None, seconds: float, busy: int
) -> tuple[dict[int, Chunks], dict[str, str]]:
    """The chunks of each round by the number of threads, and versions."""
    peer = held_to(PEERS["convmill"], target)
    workers: dict[int, WorkerProcess] = {}
    found: dict[int, Chunks] = {count: {ALONE: [], BESIDE: []} for count in counts}
    try:
        for count in counts:
            workers[count] = start(peer, net, count)
        for number in range(repeats):
            for turn in range(len(counts)):
                count = counts[(number + turn) % len(counts)]
                found[count][ALONE].append(workers[count].ask("train", seconds=seconds))
                if busy:
                    with busy_processes(busy):
                        found[count][BESIDE].append(workers[count].ask("train", seconds=seconds))
    finally:
        for worker in workers.values():
            worker.stop()
    return found, workers[1].versions


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.threads")
