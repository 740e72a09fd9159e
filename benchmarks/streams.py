"""`python -m benchmarks.streams`: training on streams, over training on arrays. It asserts no time.

One model is trained on the same images as arrays, from a PyDataset, a generator and, where there
is PyTorch, a DataLoader, in turns, an epoch each; what a stream does itself (cutting batches out of
an array) is counted. With fewer threads than cores, threads that make batches have a core of their
own.
"""

import importlib
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import numpy as np

from benchmarks.images import one_hot
from benchmarks.names import Names
from benchmarks.nets import NETS
from benchmarks.options import Count, threads_option
from benchmarks.results import summarise

IMAGES = 32_768


@click.command()
@click.option("--nets", type=Names(NETS), default="notebook,cifar10-cnn", show_default=True)
@click.option("--repeats", type=Count(1), default=5, show_default=True, help="Rounds.")
@threads_option
def main(nets: list[str], repeats: int, threads: int) -> None:
    """Measure epochs, in images a second: median (least..greatest), and the ratio of medians."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ["CONVMILL_CACHE"] = ""  # nothing that was tuned here
    for name in nets:
        epochs = _epochs(name, threads)
        for epoch in epochs.values():
            epoch()  # compiles
        rates: dict[str, list[float]] = {kind: [] for kind in epochs}
        for _ in range(repeats):
            for kind, epoch in epochs.items():
                start = time.perf_counter()
                count = epoch()
                rates[kind].append(count / (time.perf_counter() - start))
        arrays = summarise(rates["arrays"]).median
        for kind, found in rates.items():
            summary = summarise(found)
            ratio = summary.median / arrays
            click.echo(f"{name}, {kind}: {summary.told()} images/s, {ratio:.2f} of arrays")


def _epochs(name: str, threads: int) -> dict[str, Callable[[], int]]:
    """An epoch of each kind; it returns how many images it trained on."""
    import keras

    import convmill
    from benchmarks.workers.keras_nets import build

    net = NETS[name]
    model = build(net)
    model.compile(net.optimizer, "categorical_crossentropy", metrics=["accuracy"])
    convmill.accelerate(model, threads=threads, strict=True)
    count = IMAGES if net.input_shape[0] <= 28 else IMAGES // 8
    random = np.random.default_rng(0)
    x = random.random((count, *net.input_shape), dtype=np.float32)
    y = one_hot(random.integers(0, net.classes, count), net.classes)
    steps = count // net.batch

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(step * net.batch, (step + 1) * net.batch)
        return x[part], y[part]

    class Stream(keras.utils.PyDataset):
        def __len__(self) -> int:
            return steps

        def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
            return batch(step)

    def endless() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield from map(batch, range(steps))

    def fit(*data: Any, **options: Any) -> Callable[[], int]:
        def epoch() -> int:
            model.fit(*data, verbose=0, **options)
            return steps * net.batch

        return epoch

    epochs = {
        "arrays": fit(x[: steps * net.batch], y[: steps * net.batch], batch_size=net.batch),
        "PyDataset": fit(Stream()),
        "PyDataset, 2 workers": fit(Stream(workers=2)),
        "generator": fit(endless(), steps_per_epoch=steps),
    }
    if importlib.util.find_spec("torch") is not None:
        epochs["DataLoader"] = fit(_loader(x, y, net.batch))
    return epochs


def _loader(x: np.ndarray, y: np.ndarray, batch: int) -> Any:
    """Torch's own, of whole batches."""
    torch = importlib.import_module("torch.utils.data")

    class Images:
        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, places: list[int]) -> tuple[np.ndarray, np.ndarray]:
            return x[places], y[places]

    whole = torch.BatchSampler(torch.SequentialSampler(range(len(x))), batch, drop_last=True)
    return torch.DataLoader(Images(), sampler=whole, batch_size=None)


if __name__ == "__main__":
    main()
