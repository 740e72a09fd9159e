"""`python -m benchmarks.interrupts`: how soon Ctrl-C is heard, beside processes that keep all cores
busy. It asserts no time.

A process trains, evaluates or predicts without end; at moments that are not its own choice it is
interrupted, and what is measured is the time from the signal to the KeyboardInterrupt in its code.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from benchmarks.names import Names
from benchmarks.nets import NETS
from benchmarks.options import Count, repeats_option, threads_option
from benchmarks.results import summarise
from benchmarks.threads import busy_processes

WORKS = ("fit", "stream", "evaluate", "predict")
LONGEST_WAIT = 1.0  # seconds of work before a signal, at most
IMAGES = 4096


@click.command(context_settings={"show_default": True})
@click.option("--nets", type=Names(NETS), default="notebook,resnet-20")
@click.option("--works", type=Names(WORKS), default="all")
@repeats_option
@threads_option
@click.option("--busy", type=Count(0), default=8, help="Busy processes beside it.")
def main(nets: list[str], works: list[str], repeats: int, threads: int, busy: int) -> None:
    """Interrupt work of each net so often: median (least..greatest) of the milliseconds."""
    for net in nets:
        for work in works:
            with worker(net, work, threads) as process, busy_processes(busy):
                waits = [_interrupted(process) for _ in range(repeats)]
            found = summarise([1000 * wait for wait in waits])
            click.echo(f"{net}, {work}: heard after {found.told('.0f')} ms beside {busy} busy")


@contextmanager
def worker(net: str, work: str, threads: int) -> Iterator[subprocess.Popen[str]]:
    """A process that works without end, and writes a line when it begins and when it is
    interrupted."""
    command = [sys.executable, "-m", "benchmarks.interrupts", net, work, str(threads)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _interrupted(process: subprocess.Popen[str]) -> float:
    """Seconds until one signal is heard."""
    assert process.stdout
    _expect(process, "working")
    time.sleep(random.uniform(0.0, LONGEST_WAIT))
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _expect(process, "heard")
    return time.monotonic() - sent


def _expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout
    line = process.stdout.readline().strip()
    if line != word:
        raise click.ClickException(f"the process said {line!r}, and not {word!r}")


def _work(name: str, work: str, threads: int) -> None:
    """What the other process does."""
    import keras
    import numpy as np

    import convmill
    from benchmarks.images import one_hot
    from benchmarks.workers.keras_nets import build

    net = NETS[name]
    model = build(net)
    model.compile(net.optimizer, "categorical_crossentropy", metrics=["accuracy"])
    convmill.accelerate(model, threads=threads, strict=True)
    x = np.zeros((IMAGES, *net.input_shape), np.float32)
    y = one_hot(np.arange(IMAGES) % net.classes, net.classes)

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return IMAGES // net.batch

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            part = slice(index * net.batch, (index + 1) * net.batch)
            return x[part], y[part]

    def once() -> None:
        if work == "fit":
            model.fit(x, y, batch_size=net.batch, epochs=10**6, verbose=0)
        elif work == "stream":
            model.fit(Batches(), epochs=10**6, verbose=0)
        elif work == "evaluate":
            model.evaluate(x, y, batch_size=net.batch, verbose=0)
        else:
            model.predict(x, batch_size=net.batch, verbose=0)

    model.train_on_batch(x[: net.batch], y[: net.batch])  # compiles
    model.predict_on_batch(x[: net.batch])
    while True:
        try:
            print("working", flush=True)
            while True:
                once()
        except KeyboardInterrupt:
            print("heard", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] in NETS:
        _work(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main(prog_name="python -m benchmarks.interrupts")
