"""The rules as a whole: their texts, and what they say of the notebook's nets."""

from __future__ import annotations

import inspect

import pytest

from convmill.inspection.findings import RULES, find
from tests.inspection.nets import chain, facts, notebook, unpooled


def test_the_notebook_net_has_one_fault():
    assert [(each.rule, each.layer) for each in find(facts(notebook()))] == [
        ("dropped border", "second_pooling")
    ]


def test_the_unpooled_net_sees_little_and_is_wide():
    assert [each.rule for each in find(facts(unpooled()))] == ["small field", "wide flatten"]


def test_every_rule_cites_a_year_in_its_docstring():
    for rule in RULES:
        text = inspect.getdoc(rule) or ""
        years = [word for word in text.replace(",", " ").split() if word.strip("().;:").isdigit()]
        assert any(1980 < int(year.strip("().;:")) < 2030 for year in years), rule.__name__


def test_rules_have_names_of_their_own():
    assert len({rule.__name__ for rule in RULES}) == len(RULES)


def faulty():
    """A net in which almost every rule finds something."""
    from keras.layers import BatchNormalization, Conv2D, Dense, Flatten, MaxPooling2D

    return chain(
        Conv2D(6, 3, strides=5),
        BatchNormalization(),
        Conv2D(9, 3),
        MaxPooling2D(2),
        Conv2D(8, 3, padding="same"),
        Flatten(),
        Dense(20_000, activation="softmax"),
        Dense(3, activation="relu"),
        loss="categorical_crossentropy",
    )


def test_sentences_are_sentences():
    found = find(facts(faulty(), images=100))
    assert len({each.rule for each in found}) >= 7
    for finding in found:
        for sentence in (finding.what, finding.why, finding.remedy):
            assert sentence == " ".join(sentence.split())
            assert sentence[-1] in ".)"
        assert finding.what[0].isdigit()
        assert not finding.threshold.endswith(".")
        assert not finding.source.endswith(".")


@pytest.mark.parametrize("model", [notebook, unpooled, faulty])
def test_the_layers_named_are_there(model):
    built = model()
    names = {layer.name for layer in built.layers} | {None}
    assert {finding.layer for finding in find(facts(built))} <= names
