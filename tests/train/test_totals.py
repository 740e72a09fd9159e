"""What is counted does not depend on where a run is cut into parts: not by one bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmill.plan.recipe import Optimizer
from convmill.runtime.factors import factors_of, momenta_product
from convmill.runtime.program import Measured
from convmill.train.feed import Part
from convmill.train.samples import Samples
from convmill.train.totals import Measure, Sums, Totals

IMAGES, SIZE = 53, 4
STEPS = -(-IMAGES // SIZE)


def a_run(weighted):
    rng = np.random.default_rng(0)
    x = (np.zeros((IMAGES, 1), np.float32),)
    weight = (rng.random(IMAGES).astype(np.float32), None) if weighted else None
    part = Part(Samples(x, weight=weight), rng.permutation(IMAGES), SIZE)
    measured = Measured(
        losses=rng.random((2, IMAGES)).astype(np.float32),
        rights=rng.integers(0, 2, (2, IMAGES)).astype(np.float32),
        penalty=rng.random(STEPS),
        steps=STEPS,
    )
    return part, measured


def cut(part, measured, first, last):
    images = slice(first * SIZE, min(last * SIZE, IMAGES))
    piece = replace(
        measured,
        losses=measured.losses[:, images],
        rights=measured.rights[:, images],
        penalty=measured.penalty[first:last],
        steps=last - first,
    )
    return replace(part, order=part.order[images]), piece


@pytest.mark.parametrize("weighted", [False, True])
@given(st.sets(st.integers(0, STEPS)))
def test_totals_of_pieces_are_those_of_the_whole(weighted, places):
    part, measured = a_run(weighted)
    measures = {0: Measure(1, True, 0.3), 1: Measure(3, False, 1.7)}
    nothing = Totals({0: Sums(), 1: Sums()})
    whole = nothing.after(part, measured, measures, 0.1)
    borders = [0, *sorted(places), STEPS]
    found = nothing
    for first, last in pairwise(borders):
        found = found.after(*cut(part, measured, first, last), measures, 0.1)
    assert found == whole
    assert found.images == IMAGES


def test_ten_million_images_lose_nothing():
    """Keras' own sums, in float32, are off by some 1e-4 of the whole by then."""
    many, size, parts = 1_000_000, 1000, 10
    losses = np.random.default_rng(0).random(many).astype(np.float32) + np.float32(0.1)
    right = (losses > 0.5).astype(np.float32)
    samples = Samples((np.zeros((many, 1), np.uint8),))
    part = Part(samples, np.arange(many), size)
    measured = Measured(losses[None], right[None], np.full(many // size, 0.25), many // size)
    found = Totals({0: Sums()})
    for _ in range(parts):
        found = found.after(part, measured, {0: Measure(1, True, 1.0)})
    assert found.images == parts * many
    mean = losses.astype(np.float64).mean()
    assert found.loss / found.images == pytest.approx(mean + 0.25, rel=1e-12)
    assert found.sums[0].correct == parts * right.sum(dtype=np.float64)


@given(st.integers(0, 30), st.sampled_from([1, 3]))
def test_nadam_may_be_cut_anywhere(at, every):
    nadam = Optimizer("nadam", accumulate=every)
    rates = np.full(30, 0.01)
    whole = factors_of(nadam, rates, 0, 1.0)
    product = momenta_product(nadam, 1.0, 0, at)
    pieces = [factors_of(nadam, rates[:at], 0, 1.0), factors_of(nadam, rates[at:], at, product)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
