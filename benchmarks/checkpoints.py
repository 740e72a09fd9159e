"""`python -m benchmarks.checkpoints`: what checkpoints cost a training. It asserts no time.

The same net is trained with and without checkpoints, in turns, a stretch each. They are written far
more often than by default, so that their cost stands out of the noise; what it is by default
follows. The delay of a step is the time from the end of one run of native code to the beginning of
the next, where a state is taken in between.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import record
from benchmarks.images import one_hot
from benchmarks.names import Names
from benchmarks.nets import NETS
from benchmarks.options import Seconds, json_option, repeats_option, threads_option
from benchmarks.results import summarise

DEFAULT_SECONDS = 60.0
AN_EPOCH = 4.0  # seconds, about: so that most states are taken in the midst of one
FIRST = 512  # images, to compile and to see how fast a net is
Stretch = Callable[[str | None], float]


@click.command(context_settings={"show_default": True})
@click.option("--nets", type=Names(NETS), default="notebook,resnet-20,cifar10-cnn,mobilenet")
@repeats_option
@threads_option
@click.option("--seconds", type=Seconds(1.0), default=20.0, help="Length of a stretch.")
@click.option("--every", type=Seconds(0.1), default=1.0, help="Seconds.")
@json_option
def main(
    nets: list[str],
    repeats: int,
    threads: int,
    seconds: float,
    every: float,
    json_file: Path | None,
) -> None:
    """Measure training with and without checkpoints: median (least..greatest) of stretches."""
    begun = record.begin("checkpoints")
    samples: dict[str, dict[str, list[float]]] = {}
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ["CONVMILL_CACHE"] = ""  # nothing that was tuned here
    for name in nets:
        delays: list[float] = []
        stretch = _stretch(name, threads, seconds, delays)
        rates: dict[str | None, list[float]] = {None: [], f"{every}s": []}
        for _ in range(repeats):
            for kind, found in rates.items():
                found.append(stretch(kind))
        without, kept = (summarise(found) for found in rates.values())
        cost = max(0.0, 1 - kept.median / without.median)
        click.echo(
            f"{name}: {without.told()} images/s without, {kept.told()} with a checkpoint every "
            f"{every:g} s: {cost:.2%}, so {cost * every / DEFAULT_SECONDS:.3%} at the default "
            f"interval; a step is delayed by {_milliseconds(delays)}"
        )
        samples[name] = {
            "without": rates[None],
            "with": rates[f"{every}s"],
            "delay_seconds": delays,
        }
        if json_file:
            versions = record.own_versions()
            record.write(replace(begun, samples=samples, versions=versions), json_file)


def _milliseconds(delays: list[float]) -> str:
    if not delays:
        return "nothing, for no state was taken in the midst of an epoch: give more --seconds"
    found = summarise([1000 * delay for delay in delays])
    return f"{found.median:.1f} ms, at most {max(delays) * 1000:.1f} ms, of {len(delays)}"


def _stretch(name: str, threads: int, seconds: float, delays: list[float]) -> Stretch:
    """What trains for some seconds, with checkpoints so often or without, and returns images a
    second; the delays of steps are appended to ``delays``."""
    import keras

    import convmill
    from benchmarks.workers.keras_nets import build
    from convmill.callbacks import Checkpoint

    class Clock(keras.callbacks.Callback):
        """Ends the training once the time is over."""

        def on_train_begin(self, logs: Any = None) -> None:
            self.begin, self.epochs = time.perf_counter(), 0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.epochs += 1
            self.end = time.perf_counter()
            self.model.stop_training = self.end - self.begin > seconds

    net = NETS[name]
    model = build(net)
    model.compile(net.optimizer, "categorical_crossentropy", metrics=["accuracy"])
    convmill.accelerate(model, threads=threads, strict=True)
    random = np.random.default_rng(0)

    def fit(count: int, *callbacks: Any) -> float:
        clock = Clock()
        x = random.random((count, *net.input_shape), dtype=np.float32)
        y = one_hot(random.integers(0, net.classes, count), net.classes)
        every = [clock, *callbacks]
        model.fit(x, y, batch_size=net.batch, epochs=10**6, verbose=0, callbacks=every)
        return clock.epochs * count / (clock.end - clock.begin)

    _watch(delays)
    whole, seconds = seconds, 0.0
    fit(FIRST)  # compiles
    count = max(FIRST, int(AN_EPOCH * fit(FIRST)))
    seconds = whole

    def stretch(every: str | None) -> float:
        if every is None:
            return fit(count)
        with tempfile.TemporaryDirectory() as folder:
            return fit(count, Checkpoint(folder, every))

    return stretch


def _watch(delays: list[float]) -> None:
    """From here on, notes how long no native code runs around each state that is taken."""
    from convmill.runtime.program import Program
    from convmill.train.checkpoint.keeper import Keeper

    train, take = Program.train, Keeper._take
    ended, taken = [0.0], [False]

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        if taken[0]:
            delays.append(time.perf_counter() - ended[0])
            taken[0] = False
        try:
            return train(self, *args, **kwargs)
        finally:
            ended[0] = time.perf_counter()

    def noted(self: Any, bound: Any) -> None:
        take(self, bound)
        taken[0] = True

    Program.train, Keeper._take = watched, noted  # type: ignore[method-assign]


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.checkpoints")
