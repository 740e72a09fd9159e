"""Convolutions over the shapes of real nets, exact to the bit.

    python -m tests.engine.conv_shapes [--all] [--threads 1 2] [--lanes 16]

tries the forty plain shapes of ``conv-shapes.csv`` beside this file and the dilated and grouped
ones of ``conv-shapes-parted.csv``, or with ``--all`` the whole list of the first name in
``$CONVMILL_DATA``. Where each channel is a group of its own the convolution is a depthwise one;
tests also turn shapes round, into transposed convolutions. The shapes are from the lists of
oneDNN's benchdnn (https://github.com/uxlfoundation/oneDNN, Apache-2.0). Everything is filled with
small integers, so that every sum is exact in float32 in whatever order it is taken: forward, dX, dW
and the bias gradient must equal the reference, which is a product of im2col matrices in float64, in
every bit.

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
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np

from convmill.lower import choose
from convmill.lower.machine import Machine
from convmill.lower.stages import WindowedStage
from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.operations import Convolution
from convmill.plan.recipe import Loss
from convmill.runtime.program import Batches, Program
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    conv,
    dense,
    depthwise,
    flatten,
    graph_of,
    in_records,
    recipe_of,
    transposed,
)

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
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1

    def __str__(self) -> str:
        image = f"{self.height}x{self.width}x{self.channels_in}"
        kernel = f"{self.filters} of {self.kernel_h}x{self.kernel_w}"
        text = f"{image}, {kernel}, strides {self.stride_h}x{self.stride_w}, {self.padding}"
        if (self.dilation_h, self.dilation_w) != (1, 1):
            text += f", dilation {self.dilation_h}x{self.dilation_w}"
        return text if self.groups == 1 else f"{text}, {self.groups} groups"

    @property
    def taps(self) -> int:
        """Weights of one filter."""
        return self.kernel_h * self.kernel_w * self.channels_in // self.groups

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is a group of its own."""
        return 1 < self.groups == self.channels_in

    def graph(self, *, identity: bool, turned: bool = False) -> Graph:
        """[identity convolution,] the convolution, or the transposed one where it is ``turned``
        round, Flatten, Dense of one unit."""
        size, strides = (self.kernel_h, self.kernel_w), (self.stride_h, self.stride_w)
        window = (size, strides, self.padding, "linear")
        dilation = (self.dilation_h, self.dilation_w)
        if turned:
            tried = transposed(self.filters, *window, dilation=dilation)
        elif self.is_depthwise:
            many = self.filters // self.groups
            tried = depthwise(*window, multiplier=many, dilation=dilation)
        else:
            tried = conv(self.filters, *window, dilation=dilation, groups=self.groups)
        layers = [tried, flatten, dense(1)]
        if identity:
            layers.insert(0, conv(self.channels_in, (1, 1), activation="linear", bias=False))
        return graph_of((self.height, self.width, self.channels_in), *layers)


FORTY = Path(__file__).with_name("conv-shapes.csv")
PARTED = Path(__file__).with_name("conv-shapes-parted.csv")


def whole_list() -> Path | None:
    """Where all shapes lie; None where there is no such file."""
    folder = os.environ.get("CONVMILL_DATA")
    found = Path(folder, "conv-shapes.csv") if folder else None
    return found if found is not None and found.is_file() else None


def read(file: Path) -> list[Shape]:
    """All shapes of a file."""
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
                dilation_h=int(row["dilation_h"]),
                dilation_w=int(row["dilation_w"]),
                groups=int(row["groups"]),
            )
            for row in csv.DictReader(lines)
        ]


# Reference ---------------------------------------------------------------------------------------


def columns(x: np.ndarray, operation: Convolution) -> np.ndarray:
    """Padded x (n, h, w, c) -> its windows (n, rows, columns, kernel height, kernel width, c)."""
    strides, dilation = operation.strides, operation.dilation
    pairs = zip(operation.kernel_size, dilation, strict=True)
    extent = tuple((size - 1) * apart + 1 for size, apart in pairs)
    windows = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    return windows.transpose(0, 1, 2, 4, 5, 3)


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
    """x (n, h, w, c), w as Keras holds it, dy (n, rows, columns, f), all of float64."""
    if operation.transposed:  # the same sums, read from the other side
        plain = replace(operation, transposed=False)
        nothing = np.zeros(w.shape[3])
        y = reference(plain, np.zeros(dy.shape), w, nothing, x).dx + bias
        other = reference(plain, dy, w, nothing, x)
        return Exact(y, other.y, other.dw, dy.sum(axis=(0, 1, 2)))
    if operation.depthwise:
        grouped = w.reshape(*operation.kernel_size, 1, -1)
        found = reference(replace(operation, depthwise=False), x, grouped, bias, dy)
        return replace(found, dw=found.dw.reshape(w.shape))
    top, bottom, left, right = operation.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    table = columns(padded, operation)
    y, dw, d_padded = np.zeros(dy.shape), np.zeros(w.shape), np.zeros(padded.shape)
    for group in range(operation.groups):
        read, made = (
            slice(group * total // operation.groups, (group + 1) * total // operation.groups)
            for total in (x.shape[3], w.shape[3])
        )
        part = table[..., read]
        flat = part.reshape(math.prod(part.shape[:3]), -1)  # places x taps
        kernel, places = w[..., made], dy[..., made].reshape(len(flat), -1)
        y[..., made] = (flat @ kernel.reshape(flat.shape[1], -1)).reshape(dy[..., made].shape)
        dw[..., made] = (flat.T @ places).reshape(kernel.shape)
        spread = (places @ kernel.reshape(flat.shape[1], -1).T).reshape(part.shape)
        _add_windows(d_padded[..., read], spread, operation)
    dx = d_padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right]
    return Exact(y + bias, dx, dw, dy.sum(axis=(0, 1, 2)))


def _add_windows(target: np.ndarray, spread: np.ndarray, operation: Convolution) -> None:
    """The inverse of ``columns``: windows added up where they lie."""
    rows, across = spread.shape[1:3]
    (down, right), dilation = operation.strides, operation.dilation
    for i in range(spread.shape[3]):
        for j in range(spread.shape[4]):
            top, left = i * dilation[0], j * dilation[1]
            lines = slice(top, top + rows * down, down)
            target[:, lines, left : left + across * right : right] += spread[:, :, :, i, j]


# The engine --------------------------------------------------------------------------------------


def integers(rng: np.random.Generator, shape: Sequence[int], share: float) -> np.ndarray:
    """Whole numbers from -3 to 3 as float32, a ``share`` of them not zero."""
    values = rng.integers(1, 4, shape) * rng.choice((-1, 1), shape)
    return (values * (rng.random(shape) < share)).astype(np.float32)


def differences(
    shape: Shape,
    threads: Sequence[int],
    machine: Machine | None = None,
    *,
    identity: bool,
    turned: bool = False,
) -> list[str]:
    """What differs from the reference in any bit, for each number of threads; empty is right.

    Without ``identity`` the convolution is the first layer, which has a kernel of its own for
    dW, and no dX. ``turned`` round, it is a transposed one.
    """
    graph = shape.graph(identity=identity, turned=turned)
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
        recipe = recipe_of(Loss("mean_absolute_error", reduction="sum"))
        # Factors of Winograd's larger tiles are no whole halves.
        with mock.patch.object(choose, "MOST_OUTPUTS", 2):
            program = Program(graph, recipe, threads=count, machine=machine, guard=GUARD)
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
    assert isinstance(stage, WindowedStage)
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
    parser.add_argument("--all", action="store_true", help="all shapes, not these few")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--lanes", type=int, choices=(4, 8, 16), help="vectors of so many float32")
    given = parser.parse_args(arguments)
    files = (whole_list(),) if given.all else (FORTY, PARTED)
    if None in files:
        print("Set CONVMILL_DATA to the folder that holds conv-shapes.csv.", file=sys.stderr)
        return 2
    shapes = [shape for file in files if file is not None for shape in read(file)]
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
