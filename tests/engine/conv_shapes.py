"""Convolutions over the shapes of real nets, exact to the bit.

    python -m tests.engine.conv_shapes [--all] [--threads 1 2] [--lanes 16]

tries the forty shapes of ``conv-shapes.csv`` beside this file, or with ``--all`` the whole list of
that name in ``$CONVMILL_DATA``, dilation and groups left out. The shapes are from the lists of
oneDNN's benchdnn (https://github.com/uxlfoundation/oneDNN, Apache-2.0). Everything is filled with
small integers, so that every sum is exact in float32 in whatever order it is taken:
forward, dX, dW and the bias gradient must equal the reference, which is a product of im2col
matrices in float64, in every bit.

The convolution stands between a 1 x 1 identity convolution, which makes the engine compute dX, and
a dense layer of one unit: with the absolute error of far away targets as loss, its gradient is
the dense kernel times +1 or -1 for each image.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convmill.lower.machine import Machine
from convmill.lower.stages import ConvolutionStage
from convmill.plan.graph import Convolution, Graph
from convmill.plan.recipe import Loss
from convmill.runtime.program import Batches, Program
from tests.engine.nets import GUARD, WIDTHS, conv, dense, flatten, graph_of, in_records, recipe_of

IMAGES = 3
HIGHEST = 2**24  # float32 holds every whole number up to here


@dataclass(frozen=True)
class Shape:
    """One line of the file."""

    height: int
    width: int
    channels_in: int
    filters: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    padding: str

    def __str__(self) -> str:
        image = f"{self.height}x{self.width}x{self.channels_in}"
        kernel = f"{self.filters} of {self.kernel_h}x{self.kernel_w}"
        return f"{image}, {kernel}, strides {self.stride_h}x{self.stride_w}, {self.padding}"

    @property
    def taps(self) -> int:
        """Weights of one filter."""
        return self.kernel_h * self.kernel_w * self.channels_in

    def graph(self, *, identity: bool) -> Graph:
        """[identity convolution,] the convolution, Flatten, Dense of one unit."""
        size, strides = (self.kernel_h, self.kernel_w), (self.stride_h, self.stride_w)
        layers = [conv(self.filters, size, strides, self.padding, "linear"), flatten, dense(1)]
        if identity:
            layers.insert(0, conv(self.channels_in, (1, 1), activation="linear", bias=False))
        return graph_of((self.height, self.width, self.channels_in), *layers)


FORTY = Path(__file__).with_name("conv-shapes.csv")


def whole_list() -> Path | None:
    """Where all shapes lie; None where there is no such file."""
    folder = os.environ.get("CONVMILL_DATA")
    found = Path(folder, "conv-shapes.csv") if folder else None
    return found if found is not None and found.is_file() else None


def read(file: Path) -> list[Shape]:
    """All shapes without dilation and groups."""
    with file.open(newline="") as lines:
        return [
            Shape(
                height=int(row["height"]),
                width=int(row["width"]),
                channels_in=int(row["channels_in"]),
                filters=int(row["filters"]),
                kernel_h=int(row["kernel_h"]),
                kernel_w=int(row["kernel_w"]),
                stride_h=int(row["stride_h"]),
                stride_w=int(row["stride_w"]),
                padding=row["padding"],
            )
            for row in csv.DictReader(lines)
            if row["dilation_h"] == row["dilation_w"] == row["groups"] == "1"
        ]


# Reference ---------------------------------------------------------------------------------------


def columns(x: np.ndarray, size: tuple[int, int], strides: tuple[int, int]) -> np.ndarray:
    """Padded x (n, h, w, c) -> its windows (n, rows, columns, kernel height, kernel width, c)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return windows[:, :: strides[0], :: strides[1]].transpose(0, 1, 2, 4, 5, 3)


@dataclass(frozen=True)
class Exact:
    """What a convolution must give: y, and the gradients of x, kernel and bias, in float64."""

    y: np.ndarray
    dx: np.ndarray
    dw: np.ndarray
    db: np.ndarray


def reference(
    operation: Convolution, x: np.ndarray, w: np.ndarray, bias: np.ndarray, dy: np.ndarray
) -> Exact:
    """x (n, h, w, c), w (kh, kw, c, f), dy (n, rows, columns, f), all of float64."""
    top, bottom, left, right = operation.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    table = columns(padded, operation.kernel_size, operation.strides)
    flat = table.reshape(math.prod(table.shape[:3]), -1)  # places x taps
    filters = dy.shape[3]
    places = dy.reshape(-1, filters)
    y = flat @ w.reshape(-1, filters) + bias
    spread = (places @ w.reshape(-1, filters).T).reshape(table.shape)
    d_padded = np.zeros(padded.shape)
    rows, across = dy.shape[1:3]
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            d_padded[
                :,
                i : i + rows * operation.strides[0] : operation.strides[0],
                j : j + across * operation.strides[1] : operation.strides[1],
            ] += spread[:, :, :, i, j]
    dx = d_padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right]
    return Exact(y.reshape(dy.shape), dx, (flat.T @ places).reshape(w.shape), places.sum(axis=0))


# The engine --------------------------------------------------------------------------------------


def integers(rng: np.random.Generator, shape: Sequence[int], share: float) -> np.ndarray:
    """Whole numbers from -3 to 3 as float32, a ``share`` of them not zero."""
    values = rng.integers(1, 4, shape) * rng.choice((-1, 1), shape)
    return (values * (rng.random(shape) < share)).astype(np.float32)


def differences(
    shape: Shape, threads: Sequence[int], machine: Machine | None = None, *, identity: bool
) -> list[str]:
    """What differs from the reference in any bit, for each number of threads; empty is right.

    Without ``identity`` the convolution is the first layer, which has a kernel of its own for
    dW, and no dX.
    """
    graph = shape.graph(identity=identity)
    operation = graph.nodes[2 if identity else 1].operation
    assert isinstance(operation, Convolution)
    rng = np.random.default_rng(shape.taps + shape.filters)
    x = integers(rng, (IMAGES, *graph.input_shape), 0.7)
    w, bias = (
        integers(rng, graph.parameters[i].shape, 0.7)
        for i in (operation.kernel, operation.bias or 0)
    )
    behind = integers(rng, graph.parameters[-2].shape, 0.4)
    far = np.array([[1e9], [-1e9], [1e9]], np.float32)
    signs = np.array([-1.0, 1.0, -1.0])
    dy = signs[:, None, None, None] * behind.reshape(1, *_grid(graph))
    exact = reference(operation, *(each.astype(np.float64) for each in (x, w, bias, dy)))
    assert max(abs(each).max() for each in (exact.y, exact.dx, exact.dw, exact.db)) < HIGHEST
    values = [w, bias, behind, np.zeros(1, np.float32)]
    if identity:
        values.insert(0, np.eye(shape.channels_in, dtype=np.float32)[None, None])
    wrong = []
    for count in threads:
        program = Program(
            graph, recipe_of(Loss("mean_absolute_error", reduction="sum")), threads=count,
            machine=machine, guard=GUARD,
        )  # fmt: skip
        program.set_parameters(values)
        program.train(Batches(x, np.arange(IMAGES), IMAGES, far), np.zeros(1))
        wrong += [f"{part} with {count} threads" for part in _unequal(program, exact, identity)]
    return wrong


def _grid(graph: Graph) -> tuple[int, ...]:
    """Shape of the convolution's output."""
    return graph.nodes[-3].shape


def _unequal(program: Program, exact: Exact, identity: bool) -> Iterator[str]:
    """Names of the results that are not what they must be."""
    stage = program.network.stages[1 if identity else 0]
    assert isinstance(stage, ConvolutionStage)
    gradients = program.get_gradients()
    found = {
        "forward": (in_records(program, "value", stage.output), exact.y),
        "dW": (gradients[1 if identity else 0], exact.dw),
        "bias gradient": (gradients[2 if identity else 1], exact.db),
    }
    if identity:
        found["dX"] = (
            in_records(program, "gradient", stage.input), exact.dx
        )  # fmt: skip
    for name, (ours, wanted) in found.items():
        if not np.array_equal(ours, wanted.astype(np.float32)):
            yield name
    if not program.intact():
        yield "guards"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 where every shape is exact."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.engine.conv_shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--all", action="store_true", help="all shapes, not these forty")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--lanes", type=int, choices=(4, 8, 16), help="vectors of so many float32")
    given = parser.parse_args(arguments)
    file = whole_list() if given.all else FORTY
    if file is None:
        print("Set CONVMILL_DATA to the folder that holds conv-shapes.csv.", file=sys.stderr)
        return 2
    shapes = read(file)
    machine = WIDTHS[f"{given.lanes} lanes"] if given.lanes else None
    exact, tried = 0, 0
    for shape in shapes:
        for identity in (True, False):
            wrong = differences(shape, given.threads, machine, identity=identity)
            tried += 1
            exact += not wrong
            if wrong:
                place = "inside" if identity else "as first layer"
                print(f"NOT EXACT {shape}, {place}: {', '.join(wrong)}", flush=True)
    counts = " and ".join(map(str, given.threads))
    print(
        f"{exact} of {tried} runs exact: {len(shapes)} shapes, each inside a net and as its first "
        f"layer, with {counts} threads"
    )
    return 0 if exact == tried else 1


if __name__ == "__main__":
    sys.exit(main())
