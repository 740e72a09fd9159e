"""Which of Keras' tests are run, how convmill is put under them, and what may differ.

``select`` is a pytest expression (``-k``). What it leaves out is named beside it: cases that
could only fall back, and would take minutes of plain Keras' time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Test modules under ``keras.src``, the cases of them that are run, and their routes."""

    name: str
    how: str  # what convmill does in place of Keras, for the table's reader
    modules: tuple[str, ...]
    routes: tuple[str, ...]
    select: str = ""


_LAYER = (
    "a layer called on numbers is the one layer of a model that predicts "
    "(with `training=True`: that makes one training step)"
)
# left out: LoRA and quantized layers
_PLAIN = "not lora and not quant and not int4 and not gptq and not awq"
GROUPS = (
    Group(
        "trainer",
        "Keras' example model, one Dense layer, becomes a Sequential of ours; "
        "all other Keras models go through `convmill.install()`",
        ("trainers.trainer_test",),
        ("models", "example-model"),
    ),
    Group(
        "callbacks",
        "`convmill.install()`",
        tuple(
            f"callbacks.{name}_test"
            for name in (
                "backup_and_restore",
                "callback",
                "csv_logger",
                "early_stopping",
                "lambda_callback",
                "learning_rate_scheduler",
                "model_checkpoint",
                "monitor_callback",
                "reduce_lr_on_plateau",
                "remote_monitor",
                "terminate_on_nan",
            )
            # swap_ema_weights and tensorboard import TensorFlow, orbax_checkpoint needs Orbax
        ),
        ("models",),
    ),
    Group(
        "convolutions",
        _LAYER,
        tuple(
            f"layers.convolutional.{name}_test"
            for name in ("conv", "conv_transpose", "depthwise_conv", "separable_conv")
        ),
        ("layers",),
        f"not 3d and {_PLAIN}",
    ),
    Group(
        "pooling and shapes",
        _LAYER,
        (
            *(
                f"layers.pooling.{name}_test"
                for name in (
                    "adaptive_pooling2d",
                    "average_pooling",
                    "global_average_pooling",
                    "global_max_pooling",
                    "max_pooling",
                )
            ),
            *(
                f"layers.reshaping.{name}_test"
                for name in (
                    "cropping1d",
                    "cropping2d",
                    "flatten",
                    "permute",
                    "repeat_vector",
                    "reshape",
                    "up_sampling1d",
                    "up_sampling2d",
                    "zero_padding1d",
                    "zero_padding2d",
                )
            ),
        ),
        ("layers",),
        "not 3d and not AdaptiveMax",
    ),
    Group(
        "other layers",
        _LAYER,
        (
            "layers.core.dense_test",
            "layers.core.identity_test",
            "layers.merging.merging_test",
            "layers.normalization.batch_normalization_test",
            "layers.normalization.group_normalization_test",
            "layers.normalization.layer_normalization_test",
            "layers.normalization.rms_normalization_test",
            "layers.normalization.unit_normalization_test",
            # preprocessing's normalization and rescaling import TensorFlow and Grain
            *(
                f"layers.regularization.{name}_test"
                for name in (
                    "activity_regularization",
                    "alpha_dropout",
                    "dropout",
                    "gaussian_dropout",
                    "gaussian_noise",
                    "spatial_dropout",
                )
            ),
            *(
                f"layers.activations.{name}_test"
                for name in ("activation", "elu", "leaky_relu", "prelu", "relu", "softmax")
            ),
        ),
        ("layers",),
        f"not 3d and {_PLAIN}",
    ),
    Group(
        "optimizers",
        "a step is made by `fit`, and from the same state by `train_on_batch`, of a Dense unit "
        "whose gradient is the test's; both must give the same bits",
        tuple(
            f"optimizers.{name}_test"
            for name in (
                "adadelta",
                "adafactor",
                "adagrad",
                "adam",
                "adamax",
                "adamw",
                "ftrl",
                "lamb",
                "lion",
                "loss_scale_optimizer",
                "muon",
                "nadam",
                "optimizer",
                "rmsprop",
                "schedule_free_adamw",
                "sgd",
            )
        ),
        ("optimizers",),
    ),
    Group(
        "losses",
        "a loss called on numbers is what `evaluate` returns for a model that changes nothing",
        ("losses.losses_test", "losses.loss_test"),
        ("losses",),
    ),
    Group(
        "metrics",
        "a metric that is shown numbers is that of a model that changes nothing, in "
        "`test_on_batch`",
        tuple(
            f"metrics.{name}_metrics_test"
            for name in (
                "accuracy",
                "confusion",
                "correlation",
                "f_score",
                "hinge",
                "iou",
                "probabilistic",
                "regression",
            )
        ),
        ("metrics",),
    ),
    Group(
        "regularizers and constraints",
        "those of a Dense layer: a penalty is what `evaluate` returns, a constraint what a step of "
        "size 0 does",
        ("regularizers.regularizers_test", "constraints.constraints_test"),
        ("weights",),
    ),
    Group(
        "models and saving",
        "`convmill.install()`",
        (
            "models.functional_test",
            "models.model_test",
            "models.sequential_test",
            "saving.saving_api_test",
            "saving.saving_lib_test",
        ),
        ("models",),
        # left out: quantized models, and the slow cases of networks that are not covered
        f"{_PLAIN} and not efficientnet and not lstm "
        "and not dict_input_to_list_model and not for_functional_in_sequential",
    ),
)

_OWN_WORDS = "A ValueError too, in our own words, which name the argument and what was received."

# Cases that plain Keras passes and that fail with convmill, each with its reason.
EXPLAINED = {
    "trainers.trainer_test.TestTrainer.test_fit_eval_flow_for_jax_model_weights": (
        "It looks inside Keras' JAX trainer, which takes the values out of the model's variables "
        "while it trains. With convmill the variables hold their values whenever a callback looks."
    ),
    "optimizers.adam_test.AdamTest.test_ema_overwrite_frequency": (
        "It compares an Adam with moving averages, which is left to Keras here, with one without, "
        "which runs compiled, after one step of size 1, to 1e-6. Keras takes Adam's bias "
        "correction 1 - 0.999 in float32, which is 1.3e-5 off; convmill takes it in float64. The "
        "exact weights are 3.162e-5 and 1.00001581; Keras has 3.827e-5, convmill 3.159e-5."
    ),
    "models.functional_test.FunctionalTest.test_required_none_raises_in_fit": _OWN_WORDS,
    "models.model_test.ModelTest.test_functional_dict_outputs_dict_losses_invalid_keys": (
        "Keras raises a KeyError; here it is a ValueError, as for lists; it ends with Keras' words."
    ),
    "layers.regularization.activity_regularization_test.ActivityRegularizationTest"
    ".test_activity_regularization_basics": (
        "It looks at the losses that a layer has kept of a call on numbers. Here a model was "
        "called, and the loss went into its training."
    ),
}
