"""Keras' own BackupAndRestore, which goes on from whole epochs, works under convmill too."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from convmill import models
from tests.train.nets import compiled, convnet, images

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images(32)


class _Killed(BaseException):
    """Nothing of ours or of Keras' catches it."""


class Killing(keras.callbacks.Callback):
    """Ends the process, as far as a test can."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise _Killed


def fit(folder, *more):
    """Without shuffling and dropout, which Keras' callback does not put back."""
    model = compiled(convnet(models.Sequential), "adam")
    backup = keras.callbacks.BackupAndRestore(folder)
    history = model.fit(
        X, Y, batch_size=8, epochs=4, shuffle=False, verbose=0, callbacks=[backup, *more]
    )
    return model, history


def test_a_killed_run_goes_on_from_its_last_epoch(tmp_path):
    expected, whole = fit(tmp_path / "whole")
    with pytest.raises(_Killed):
        fit(tmp_path / "run", Killing())
    model, rest = fit(tmp_path / "run")
    assert rest.epoch == [2, 3]
    assert not (tmp_path / "run").exists()
    assert rest.history == {name: values[2:] for name, values in whole.history.items()}
    for mine, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    for mine, other in zip(model.optimizer.variables, expected.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())
