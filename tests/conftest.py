"""For all tests: Keras' backend is chosen before any of them imports Keras, and what Keras and
NumPy draw without a seed of its own is the same at every run of a test, whichever ran before."""

import convmill  # noqa: F401  isort: skip
import keras
import pytest


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(1)
