"""Two designs side by side."""

from __future__ import annotations

import pytest
from keras.layers import AveragePooling2D, Conv2D, Dense, Flatten, MaxPooling2D

import convmill
from convmill.inspection.compare import compare
from tests.inspection.nets import chain, notebook, unpooled


def aligned(one, other):
    pairs = compare(convmill.inspect(one), convmill.inspect(other)).aligned
    return [tuple(row.step.layer if row else None for row in pair) for pair in pairs]


def test_layers_of_one_kind_stand_beside_each_other():
    assert aligned(notebook(), unpooled()) == [
        ("InputLayer", "InputLayer"),
        ("Conv2D", "Conv2D"),
        ("MaxPooling2D", None),
        ("Conv2D", "Conv2D"),
        ("MaxPooling2D", None),
        ("Conv2D", "Conv2D"),
        ("Flatten", None),
        ("Dense", None),
        ("Dense", None),
    ]


def test_layers_that_differ_stand_at_their_place():
    one = chain(Conv2D(2, 3), MaxPooling2D(2), Flatten(), Dense(2))
    other = chain(Conv2D(2, 3), AveragePooling2D(2), Conv2D(2, 3), Flatten(), Dense(2))
    assert aligned(one, other) == [
        ("InputLayer", "InputLayer"),
        ("Conv2D", "Conv2D"),
        ("MaxPooling2D", "AveragePooling2D"),
        (None, "Conv2D"),
        ("Flatten", "Flatten"),
        ("Dense", "Dense"),
    ]


def test_every_layer_is_there_once():
    found = compare(convmill.inspect(unpooled()), convmill.inspect(notebook()))
    first = [row for row, _ in found.aligned if row]
    second = [row for _, row in found.aligned if row]
    assert (tuple(first), tuple(second)) == (found.a.rows, found.b.rows)


def test_ratios_are_of_the_second_to_the_first():
    found = compare(convmill.inspect(notebook()), convmill.inspect(unpooled()))
    assert found.ratios["parameters"] == pytest.approx(55_744 / 93_322)
    assert found.ratios["last_map_coefficients"] == pytest.approx(30_976 / 576)
    assert found.ratios["last_map_share_of_input"] == pytest.approx(7 * 7 / (18 * 18))


def test_a_design_without_maps_has_no_ratio_of_them():
    dense = chain(Flatten(), Dense(2))
    found = compare(convmill.inspect(notebook()), convmill.inspect(dense))
    assert found.ratios["last_map_coefficients"] is None
    text = str(found)
    assert "coefficients of the last feature map" in text


@pytest.mark.parametrize("which", ["a", "b"])
def test_models_are_not_inspected_yet(which):
    model = unpooled()
    pair = {"a": convmill.inspect(model), "b": convmill.inspect(model), which: model}
    with pytest.raises(
        TypeError, match=rf"convmill.inspect\(model\).*Received: {which}=Sequential"
    ):
        compare(**pair)


def test_findings_of_each_are_told():
    text = str(compare(convmill.inspect(notebook()), convmill.inspect(unpooled())))
    first, _, second = text.partition("Findings of B")
    assert "dropped border" in first
    assert "small field" not in first
    assert "small field" in second
    assert "7x7 of 28x28" in second
