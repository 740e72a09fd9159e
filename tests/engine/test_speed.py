"""Predicted times: what they are made of. Whether they are right is measured in benchmarks/."""

from __future__ import annotations

import keras
import pytest
from keras import layers

import convmill
from convmill.design.costs import costs
from convmill.design.steps import design_of
from convmill.runtime import speed
from tests.plan.nets import MACHINE, notebook, sequential


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, each of which does half a thousand million multiply-adds a second."""
    monkeypatch.setattr(speed, "core_rate", lambda: 0.5e9)
    monkeypatch.setattr(speed, "cores", lambda: 2)


def predict(model: keras.Model, batch_size: int = 64, threads: int = 2):
    design = design_of(model)
    return speed.predict(design, costs(design, MACHINE), batch_size, threads)


def work(model: keras.Model, name: str, batch_size: int = 1) -> dict[str, float]:
    design = design_of(model)
    return speed.work(design.step(name), costs(design, MACHINE)[name], batch_size)


def test_a_step_is_its_layers_and_what_is_no_layers() -> None:
    each, whole = predict(notebook())
    assert whole == pytest.approx(sum(each.values()) + speed.RELATIVE_COST["step"] / 1e9)
    assert sum(seconds > 0 for seconds in each.values()) == 5  # convolutions and dense layers


def test_half_the_cores_take_twice_as_long() -> None:
    assert predict(notebook(), threads=1)[1] == pytest.approx(2 * predict(notebook())[1])


def test_work_grows_with_the_batch_and_updates_do_not() -> None:
    model = sequential(layers.Flatten(), layers.Dense(16, name="d"))
    cost = costs(design_of(model), MACHINE)["d"]
    for batch_size in (1, 8):
        done = work(model, "d", batch_size)
        assert done == {"parameters": cost.parameters, "dense": batch_size * cost.training}


def test_kinds_of_convolutions() -> None:
    model = sequential(
        layers.Conv2D(32, 3, name="narrow"),
        layers.Conv2D(32, 3, name="winograd"),
        layers.Conv2D(16, 2, name="direct"),
        shape=(16, 16, 2),  # a smaller image is quicker without transforms
    )
    kinds = {layer.name: set(work(model, layer.name)) for layer in model.layers}
    assert kinds == {
        "narrow": {"parameters", "narrow"},
        "winograd": {"parameters", "winograd", "backward"},
        "direct": {"parameters", "direct", "backward"},
    }


def test_kinds_are_those_that_are_compiled() -> None:
    """5x5 windows over colours are narrow, 1x1 windows deep inside are not."""
    model = sequential(
        layers.Conv2D(8, 5, name="narrow"),
        layers.Rescaling(2.0),
        layers.Conv2D(8, 1, name="inner"),
        layers.Flatten(),
        layers.Dense(2),
        shape=(12, 12, 3),
    )
    model.compile("sgd", "mse")
    first, _, inner, _ = convmill.explain(model).stages
    assert ("sums" in first.tiles, "sums" in inner.tiles) == (True, False)
    assert "narrow" in work(model, "narrow")
    assert "direct" in work(model, "inner")


def test_idle_lanes_are_paid_for() -> None:
    def forward(filters: int) -> float:
        return work(sequential(layers.Conv2D(filters, 3, name="c"), shape=(8, 8, 32)), "c")[
            "direct"
        ]

    lanes = speed.machine().lanes
    assert forward(1) == pytest.approx(forward(lanes // 2))
    assert forward(lanes // 2) == pytest.approx(forward(lanes // 4))


def test_threads_that_the_environment_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVMILL_THREADS", "2")
    two = convmill.inspect(notebook()).step_seconds
    monkeypatch.setenv("CONVMILL_THREADS", "1")
    assert two is not None
    assert convmill.inspect(notebook()).step_seconds == pytest.approx(2 * two)


def test_what_is_not_compiled_has_no_prediction_and_says_why() -> None:
    found = convmill.inspect(sequential(layers.BatchNormalization(renorm=True, name="norm")))
    assert found.step_seconds is None
    assert all(row.step_seconds is None for row in found.rows)
    assert "norm" in found.not_compiled
    assert "not compiled: layer 'norm'" in str(found)


def test_what_is_compiled_has_one() -> None:
    found = convmill.inspect(notebook(), batch_size=32)
    assert found.step_seconds is not None
    assert found.step_seconds > sum(row.step_seconds or 0 for row in found.rows) > 0
    assert "images/s" in str(found)
