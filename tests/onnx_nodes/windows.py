"""Convolutions and pooling: windows over images."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from tests.onnx_nodes.expressed import Expressed, Node, NotExpressed, last, need, predicted

VOLUME = "Keras' images have two axes"


def convolution(node: Node) -> Expressed:
    """Conv: a border of zeros, then a "valid" convolution."""
    x, kernel, bias = last(node.inputs[0]), node.inputs[1], node.input(2)
    size = kernel.shape[2:]
    begin, end, _ = borders(node, x.shape[1:-1], size)
    along = _axes(x)
    steps = getattr(layers, f"Conv{along}D")(
        kernel.shape[0],
        size,
        strides=node.attributes.get("strides", 1),
        dilation_rate=node.attributes.get("dilations", 1),
        groups=node.attributes.get("group", 1),
        use_bias=bias is not None,
    )
    weights = [np.moveaxis(kernel, (0, 1), (-1, -2)), *([] if bias is None else [bias])]
    return predicted([*_bordered(along, begin, end), steps], [x], last(node.outputs[0]), weights)


def transposed(node: Node) -> Expressed:
    """ConvTranspose: "valid", then cropped or bordered with zeros."""
    x, kernel, bias = last(node.inputs[0]), node.inputs[1], node.input(2)
    need(node.attributes.get("group", 1) == 1, "Conv2DTranspose has no groups")
    need(bias is None, "a bias behind the border")
    along, size = _axes(x), kernel.shape[2:]
    strides = node.attributes.get("strides", [1] * along)
    dilations = node.attributes.get("dilations", [1] * along)
    reach = [(each - 1) * apart + 1 for each, apart in zip(size, dilations, strict=True)]
    made = [
        (n - 1) * step + each for n, step, each in zip(x.shape[1:-1], strides, reach, strict=True)
    ]
    # what Keras' "valid" adds where a stride is longer than the window
    made = [n + max(step - each, 0) for n, step, each in zip(made, strides, reach, strict=True)]
    golden = last(node.outputs[0])
    pads = node.attributes.get("pads", [0] * 2 * along)
    if node.text("auto_pad", "NOTSET") != "NOTSET":
        pads = [(n - goal) // 2 for n, goal in zip(made, golden.shape[1:-1], strict=True)]
    begin = list(pads[:along])
    end = [n - b - goal for n, b, goal in zip(made, begin, golden.shape[1:-1], strict=True)]
    steps: list[Any] = [
        getattr(layers, f"Conv{along}DTranspose")(
            kernel.shape[1], size, strides=strides, dilation_rate=dilations, use_bias=False
        )
    ]
    steps += _bordered(along, [-min(n, 0) for n in begin], [-min(n, 0) for n in end])
    cropped = [max(n, 0) for n in begin], [max(n, 0) for n in end]
    if any(cropped[0] + cropped[1]):
        steps.append(getattr(layers, f"Cropping{along}D")(_pairs(*cropped)))
    return predicted(steps, [x], golden, [np.moveaxis(kernel, (0, 1), (-1, -2))])


def pooling(node: Node) -> Expressed:
    """MaxPool and AveragePool, where their borders are Keras' "valid" or "same"."""
    need(len(node.outputs) == 1, "Keras' pooling gives no indices")
    need(set(node.attributes.get("dilations", [1])) == {1}, "Keras' pooling has no dilation")
    x, size = last(node.inputs[0]), node.attributes["kernel_shape"]
    along = _axes(x)
    strides = node.attributes.get("strides", [1] * along)
    begin, end, out = borders(node, x.shape[1:-1], size)
    kind = node.operation.removesuffix("Pool")
    before: list[Any] = []
    if not any(begin + end):
        padding = "valid"
    elif kind == "Average" and node.attributes.get("count_include_pad"):
        before, padding = _bordered(along, begin, end), "valid"
    else:
        same = [
            _split(max((n - 1) * step + each - read, 0))
            for n, step, each, read in zip(out, strides, size, x.shape[1:-1], strict=True)
        ]
        counts = [-(-read // step) for read, step in zip(x.shape[1:-1], strides, strict=True)]
        need(same == list(zip(begin, end, strict=True)) and counts == out, "another border")
        padding = "same"
    name = f"{kind}Pooling{along}D"
    pool = getattr(layers, name)(tuple(size), strides=tuple(strides), padding=padding)
    return predicted([*before, pool], [x.astype(np.float32)], last(node.outputs[0]))


def global_pooling(node: Node) -> Expressed:
    """GlobalMaxPool and GlobalAveragePool."""
    x = last(node.inputs[0])
    kind = node.operation.removeprefix("Global").removesuffix("Pool")
    layer = getattr(layers, f"Global{kind}Pooling{_axes(x)}D")(keepdims=True)
    return predicted(layer, [x], last(node.outputs[0]))


def borders(node: Node, read: Any, size: Any) -> tuple[list[int], list[int], list[int]]:
    """How many places lie before and behind what a window reads, and how many places it writes,
    axis by axis."""
    along = len(size)
    strides = node.attributes.get("strides", [1] * along)
    dilations = node.attributes.get("dilations", [1] * along)
    reach = [(each - 1) * apart + 1 for each, apart in zip(size, dilations, strict=True)]
    auto = node.text("auto_pad", "NOTSET")
    out = list(node.outputs[0].shape[2:])
    if auto.startswith("SAME"):
        total = [
            max((n - 1) * step + each - got, 0)
            for n, step, each, got in zip(out, strides, reach, read, strict=True)
        ]
        pairs = [_split(n) if auto == "SAME_UPPER" else _split(n)[::-1] for n in total]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs], out
    pads = node.attributes.get("pads", [0] * 2 * along)
    begin, end = list(pads[:along]), list(pads[along:])
    if node.attributes.get("ceil_mode"):  # the last window may reach further
        used = [(n - 1) * step + each for n, step, each in zip(out, strides, reach, strict=True)]
        end = [
            max(n - b - got, 0) if n > b + got else e
            for n, b, got, e in zip(used, begin, read, end, strict=True)
        ]
    return begin, end, out


def _split(total: int) -> tuple[int, int]:
    return total // 2, total - total // 2


def _axes(x: Any) -> int:
    if x.ndim not in (3, 4):
        raise NotExpressed(VOLUME)
    return x.ndim - 2


def _bordered(along: int, begin: list[int], end: list[int]) -> list[Any]:
    if not any(begin + end):
        return []
    return [getattr(layers, f"ZeroPadding{along}D")(_pairs(begin, end))]


def _pairs(begin: list[int], end: list[int]) -> Any:
    pairs = tuple(zip(begin, end, strict=True))
    return pairs if len(pairs) > 1 else pairs[0]
