"""A few of ONNX's node tests; ``python -m tests.onnx_nodes`` runs all that Keras can express."""

from __future__ import annotations

import pytest

from tests.onnx_nodes.run import Outcome, cases_of, judge, nodes

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

AGREE = {  # names, and the modules of onnx that make them
    "conv_with_strides_and_asymmetric_padding": "conv",
    "convtranspose_output_shape": "convtranspose",
    "maxpool_2d_ceil": "maxpool",
    "averagepool_2d_precomputed_pads_count_include_pad": "averagepool",
    "batchnorm_epsilon_training_mode": "batch_normalization",
    "layer_normalization_3d_axis1_epsilon": "layernormalization",
    "gemm_all_attributes": "gemm",
    "logsoftmax_large_number": "logsoftmax",
    "constant_pad": "pad",
    "concat_3d_axis_0": "concat",
    "add_bcast": "add",
    "resize_upsample_scales_linear": "resize",
    "sce_mean_weight_ii": "softmax_cross_entropy_loss",
    "adam": "adam",
    "nesterov_momentum": "momentum",
}


def found(name: str, module: str) -> Outcome:
    """What becomes of the node test of that name."""
    (node,) = (each for each in nodes(cases_of(module)) if each.name == name)
    return judge(node)


@pytest.mark.parametrize("name", AGREE)
def test_golden_outputs(name: str) -> None:
    outcome = found(name, AGREE[name])
    assert (outcome.verdict, outcome.why) == ("agrees", "")


def test_what_keras_cannot_say_is_not_expressed() -> None:
    assert found("maxpool_2d_dilations", "maxpool").verdict == "not expressed"
    assert found("flatten_axis2", "flatten").verdict == "not expressed"
