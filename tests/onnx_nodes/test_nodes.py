"""A few of ONNX's node tests; ``python -m tests.onnx_nodes`` runs all that Keras can express."""

from __future__ import annotations

from typing import Any

import pytest

from tests.onnx_nodes.run import cases, judge, nodes

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

AGREE = (
    "conv_with_strides_and_asymmetric_padding",
    "convtranspose_output_shape",
    "maxpool_2d_ceil",
    "averagepool_2d_precomputed_pads_count_include_pad",
    "batchnorm_epsilon_training_mode",
    "layer_normalization_3d_axis1_epsilon",
    "gemm_all_attributes",
    "logsoftmax_large_number",
    "constant_pad",
    "concat_3d_axis_0",
    "add_bcast",
    "resize_upsample_scales_linear",
    "sce_mean_weight_ii",
    "adam",
    "nesterov_momentum",
)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return {node.name: node for node in nodes(cases())}


@pytest.mark.parametrize("name", AGREE)
def test_golden_outputs(found: dict[str, Any], name: str) -> None:
    outcome = judge(found[name])
    assert (outcome.verdict, outcome.why) == ("agrees", "")


def test_what_keras_cannot_say_is_not_expressed(found: dict[str, Any]) -> None:
    assert judge(found["maxpool_2d_dilations"]).verdict == "not expressed"
    assert judge(found["flatten_axis2"]).verdict == "not expressed"
