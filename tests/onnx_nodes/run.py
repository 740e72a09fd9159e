"""Runs the node tests that the onnx package carries through the compiler."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from convmill import NotCovered
from tests.onnx_nodes import tensors, training, windows
from tests.onnx_nodes.expressed import Expressed, Node, NotExpressed

Verdict = Literal["agrees", "differs", "not compiled", "not expressed"]
RELATIVE, ABSOLUTE = 1e-3, 1e-5  # the first is ONNX's own; some goldens are rounded

EXPRESS: dict[str, Callable[[Node], Expressed]] = {
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed,
    **dict.fromkeys(("MaxPool", "AveragePool"), windows.pooling),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool"), windows.global_pooling),
    **dict.fromkeys(tensors.MERGES, tensors.merge),
    **dict.fromkeys(tensors.FUNCTIONS, tensors.function),
    **dict.fromkeys(("Softmax", "LogSoftmax"), tensors.softmax),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), tensors.normalization),
    "BatchNormalization": tensors.batch_normalization,
    "Concat": tensors.concatenate,
    "Flatten": tensors.flatten,
    "Gelu": tensors.gelu,
    "Gemm": tensors.gemm,
    "GroupNormalization": tensors.group_normalization,
    "HardSigmoid": tensors.hard_sigmoid,
    "Identity": tensors.identity,
    "MatMul": tensors.matmul,
    "PRelu": tensors.prelu,
    "Pad": tensors.pad,
    "Resize": tensors.resize,
    "Transpose": tensors.transpose,
    "Adam": training.adam,
    "Momentum": training.momentum,
    "SoftmaxCrossEntropyLoss": training.cross_entropy,
}


@dataclass(frozen=True)
class Outcome:
    """What became of a node, and why."""

    node: Node
    verdict: Verdict
    why: str = ""


def cases() -> list[Any]:
    """All node tests of the onnx package."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():  # some cases divide by zero on purpose
        warnings.simplefilter("ignore")
        return list(load_model_tests(kind="node"))


def cases_of(module: str) -> list[Any]:
    """Those that one module of the onnx package makes: to make all takes seconds."""
    from onnx.backend.test.case import node

    import_module(f"{node.__name__}.{module}")
    return list(node._NodeTestCases)


def nodes(found: list[Any]) -> Iterator[Node]:
    """Those of one node whose operation we look at; others are the same in several nodes."""
    from onnx.helper import get_attribute_value

    for case in found:
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].op_type not in EXPRESS:
            continue
        (node,), ((inputs, outputs), *_) = graph.node, case.data_sets
        given = iter(inputs)
        yield Node(
            case.name.removeprefix("test_"),
            node.op_type,
            tuple(next(given) if name else None for name in node.input),
            tuple(outputs),
            {each.name: get_attribute_value(each) for each in node.attribute},
        )


def judge(node: Node) -> Outcome:
    """Runs one node where Keras has a net for it."""
    try:
        dtype = getattr(node.inputs[0], "dtype", None)
        if dtype != np.float32 and not (node.operation == "MaxPool" and dtype == np.uint8):
            raise NotExpressed(f"dtype {dtype}")
        if node.operation == "BatchNormalization" and node.attributes.get("training_mode"):
            expressed = training.statistics(node)
        else:
            expressed = EXPRESS[node.operation](node)
        found = expressed.run()
    except NotExpressed as error:
        return Outcome(node, "not expressed", str(error))
    except NotCovered as error:
        return Outcome(node, "not compiled", error.reason)
    for ours, golden in zip(found, expressed.golden, strict=True):
        if ours.shape != golden.shape:
            return Outcome(node, "differs", f"shape {ours.shape}, golden {golden.shape}")
        if not np.allclose(ours, golden, RELATIVE, ABSOLUTE, equal_nan=True):
            far = np.abs(ours.astype(np.float64) - golden).max()
            return Outcome(node, "differs", f"by up to {far:.2g}")
    return Outcome(node, "agrees")
