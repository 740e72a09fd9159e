"""What each step of an optimizer is told: its learning rate, and corrections that depend on the
number of steps before."""

from __future__ import annotations

import numpy as np

from convmill.plan.recipe import Optimizer


def factors_of(
    optimizer: Optimizer, rates: np.ndarray, iterations: int, product: float | None = None
) -> np.ndarray:
    """Float32 (batches, number of factors): ``optimizer.factors`` of each batch.

    ``rates`` (batches,) are the learning rates, ``iterations`` the batches before. ``product`` is
    what Nadam's momenta have been multiplied to, None for what they give from the first step on.
    """
    rate = np.asarray(rates, np.float64)
    batches = np.arange(iterations, iterations + len(rate))
    before = batches // optimizer.accumulate  # steps: batches that moved the weights
    if optimizer.name == "nadam" and product is None:
        product = momenta_product(optimizer, 1.0, 0, iterations)
    columns = _corrections(optimizer, rate, before + 1, product) | {"rate": rate}
    columns["moves"] = (batches + 1) % optimizer.accumulate == 0
    if optimizer.average is not None:
        every = optimizer.average.overwrite
        columns["lasts"] = np.where(before > 0, optimizer.average.momentum, 0.0)
        columns["overwrites"] = (before + 1) % every == 0 if every else np.zeros(len(rate))
    factors = np.empty((len(rate), len(optimizer.factors)), np.float32)
    for number, name in enumerate(optimizer.factors):
        factors[:, number] = columns[name]
    return factors


def _corrections(
    optimizer: Optimizer, rate: np.ndarray, step: np.ndarray, product: float | None
) -> dict[str, np.ndarray]:
    """The factors of the rule; ``step`` counts from 1, and stays while batches are gathered."""
    unbiased_1, unbiased_2 = 1 - optimizer.beta_1**step, 1 - optimizer.beta_2**step
    match optimizer.name:
        case "adam":
            return {"corrected": rate * np.sqrt(unbiased_2) / unbiased_1}
        case "adamax":
            return {"corrected": rate / unbiased_1}
        case "nadam":
            assert product is not None
            now, following = _momenta(optimizer, step), _momenta(optimizer, step + 1)
            first = np.flatnonzero(np.diff(step, prepend=0))  # the first batch of each step
            products = _products(product, now[first])[1:].astype(np.float64)
            products = np.repeat(products, np.diff(first, append=len(step)))
            return {
                "of_momentum": following / (1 - products * following),
                "of_gradient": (1 - now) / (1 - products),
                "of_velocity": 1 / unbiased_2,
            }
        case "schedule_free_adam":
            warmth = np.minimum(step / optimizer.warmup, 1) if optimizer.warmup else 1.0
            return {"warmed": rate * warmth, "of_velocity": 1 / unbiased_2, "share": 1 / step}
    return {}


def momenta_product(optimizer: Optimizer, product: float, first: int, last: int) -> float:
    """What Nadam's ``product`` of momenta behind ``first`` batches becomes behind ``last``."""
    first, last = (batches // optimizer.accumulate for batches in (first, last))
    return float(_products(product, _momenta(optimizer, np.arange(first + 1, last + 1)))[-1])


def _products(product: float, momenta: np.ndarray) -> np.ndarray:
    """``product``, and that times one momentum after the other, float32 as Keras keeps it: so a run
    may be cut anywhere, and what is kept in between changes no bit."""
    factors = np.concatenate([[product], momenta]).astype(np.float32)
    return np.multiply.accumulate(factors)


def _momenta(optimizer: Optimizer, step: np.ndarray) -> np.ndarray:
    """Nadam's momenta, which grow towards ``beta_1``."""
    return optimizer.beta_1 * (1 - 0.5 * 0.96**step)
