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
        "layers",
        "a layer called on numbers is the one layer of a model that predicts "
        "(with `training=True`: that makes one training step)",
        (
            "layers.convolutional.conv_test",
            "layers.pooling.average_pooling_test",
            "layers.pooling.global_average_pooling_test",
            "layers.pooling.global_max_pooling_test",
            "layers.pooling.max_pooling_test",
            "layers.core.dense_test",
            "layers.reshaping.flatten_test",
            "layers.regularization.dropout_test",
            "layers.activations.activation_test",
            "layers.activations.elu_test",
            "layers.activations.leaky_relu_test",
            "layers.activations.relu_test",
            "layers.activations.softmax_test",
        ),
        ("layers",),
        # left out: one and three dimensions, LoRA and quantized layers
        "not 1d and not 3d and not lora and not quant and not int4 and not gptq and not awq",
    ),
    Group(
        "optimizers",
        "a step is made by `fit`, and from the same state by `train_on_batch`, of a Dense unit "
        "whose gradient is the test's; both must give the same bits",
        tuple(
            f"optimizers.{name}_test" for name in ("sgd", "rmsprop", "adam", "adamw", "optimizer")
        ),
        ("optimizers",),
        # left out: of eleven slow cases of this name those of optimizers that are not covered
        "not weigth_decay or weigth_decay0 or weigth_decay1 and not weigth_decay10 "
        "or weigth_decay2 or weigth_decay4",
    ),
    Group(
        "losses",
        "a loss called on numbers is what `evaluate` returns for a model that changes nothing",
        ("losses.losses_test",),
        ("losses",),
        "MeanSquaredErrorTest or MeanAbsoluteErrorTest or BinaryCrossentropyTest "
        "or CategoricalCrossentropyTest",  # SparseCategoricalCrossentropyTest too
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
        "not quant and not int4 and not gptq and not awq and not efficientnet and not lstm "
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
        "It compares an Adam with moving averages, which runs on Keras' path, with one without, "
        "which runs compiled, after one step of size 1, to 1e-6. Keras takes Adam's bias "
        "correction 1 - 0.999 in float32, which is 1.3e-5 off; convmill takes it in float64. The "
        "exact weights are 3.162e-5 and 1.00001581; Keras has 3.827e-5, convmill 3.159e-5."
    ),
    "losses.losses_test.BinaryCrossentropyTest.test_shape_mismatch": _OWN_WORDS,
    "losses.losses_test.CategoricalCrossentropyTest.test_shape_mismatch": _OWN_WORDS,
    "models.functional_test.FunctionalTest.test_required_none_raises_in_fit": _OWN_WORDS,
}
