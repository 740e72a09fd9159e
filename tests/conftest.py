"""For all tests: Keras' backend is chosen before any of them imports Keras."""

import convmill  # noqa: F401
