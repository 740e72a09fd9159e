"""Versions of what figures may depend on."""

from __future__ import annotations

import importlib.metadata

import pytest

from convmill import circumstances


@pytest.mark.parametrize(
    ("backend", "package"),
    [
        ("jax", "jax"),
        ("torch", "torch"),
        ("tensorflow", "tensorflow"),
        ("tensorflow", "tensorflow-cpu"),
    ],
)
def test_of_the_backends_that_in_use_is_told(monkeypatch, backend, package):
    installed = {package: "1.2.3", "keras": "3.4.5"}

    def version(name):
        try:
            return installed[name]
        except KeyError:
            raise importlib.metadata.PackageNotFoundError(name) from None

    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr(circumstances, "version", version)
    found = circumstances.versions()
    assert found.pop("convmill")
    assert found.pop("python")
    assert found == {"keras": "3.4.5", backend: "1.2.3"}
