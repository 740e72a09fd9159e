"""Which backend Keras takes, and what is said where there is none of that name."""

from __future__ import annotations

import importlib.util
import json
import os
import sys

import pytest

from convmill import backends


@pytest.fixture
def installed(monkeypatch):
    """The backends that are installed; jax alone. Keras is not imported yet."""
    found = {"jax"}
    look = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: look(name) if name in found else None
    )
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return found


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Writes Keras' configuration file."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def write(content):
        (tmp_path / "keras.json").write_text(content)

    return write


@pytest.mark.parametrize("content", [None, "", "[]", "{}", "[" * 100_000, '{"backend": "torch"}'])
@pytest.mark.parametrize("variable", [None, ""])
def test_jax_where_nothing_that_is_there_is_named(
    installed, configure, monkeypatch, content, variable
):
    if content is not None:
        configure(content)
    if variable is not None:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    backends.choose()
    assert os.environ["KERAS_BACKEND"] == "jax"
    backends.check()


def test_what_is_installed_is_taken(installed, configure, monkeypatch):
    installed.add("torch")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in installed or None)
    configure(json.dumps({"backend": "torch"}))
    backends.choose()
    assert "KERAS_BACKEND" not in os.environ
    backends.check()


def test_what_is_said_outright_is_left_alone(installed, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    backends.choose()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    with pytest.raises(
        ValueError, match=r"backend tensorflow is not installed: .*KERAS_BACKEND=jax"
    ):
        backends.check()


@pytest.mark.parametrize("name", ["nope", "JAX", "tf", "pytorch", "os"])
def test_no_backend_of_keras(installed, configure, monkeypatch, name):
    configure(json.dumps({"backend": name}))
    with pytest.raises(
        ValueError, match=rf"must be one of jax, .* backend '{name}' in .*keras\.json"
    ):
        backends.check()
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(ValueError, match=rf"Received: KERAS_BACKEND='{name}'"):
        backends.check()
