"""Regularizers, gradient clipping and the optimizers' steps as Keras makes them, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from convmill.plan.graph.parameters import Regularizer
from convmill.plan.recipe import Clip, Optimizer

Slots = dict[str, np.ndarray]


def penalty(regularizer: Regularizer | None, weight: np.ndarray) -> float:
    """l1 * sum(|w|) + l2 * sum(w^2)."""
    if regularizer is None:
        return 0.0
    return float(regularizer.l1 * np.abs(weight).sum() + regularizer.l2 * (weight**2).sum())


def penalty_gradient(regularizer: Regularizer | None, weight: np.ndarray) -> np.ndarray:
    """Gradient of ``penalty`` by the weight, of its shape; JAX takes 1 as the slope of |w| at 0."""
    if regularizer is None:
        return np.zeros(weight.shape)
    return regularizer.l1 * np.where(weight >= 0, 1.0, -1.0) + 2 * regularizer.l2 * weight


def clipped(clip: Clip | None, gradients: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The gradients of all trainable parameters, clipped."""
    if clip is None:
        return list(gradients)
    if clip.kind == "value":
        return [np.clip(gradient, -clip.limit, clip.limit) for gradient in gradients]
    norms = [float(np.sqrt((gradient**2).sum())) for gradient in gradients]
    if clip.kind == "global_norm":
        norms = [float(np.sqrt(np.square(norms).sum()))] * len(norms)
    return [
        gradient * clip.limit / max(norm, clip.limit)
        for gradient, norm in zip(gradients, norms, strict=True)
    ]


def update(
    optimizer: Optimizer,
    rate: float,
    iterations: int,
    weight: np.ndarray,
    gradient: np.ndarray,
    slots: Mapping[str, np.ndarray],
    *,
    decays: bool = True,
) -> tuple[np.ndarray, Slots]:
    """One step of one parameter: its new value and its new slots, all of the weight's shape.

    ``rate`` is the learning rate; ``iterations`` the steps made before; ``gradient`` is clipped
    already; ``decays`` says whether weight decay applies.
    """
    if decays:
        weight = weight - weight * optimizer.weight_decay * rate
    if optimizer.name == "ftrl":
        return _ftrl(optimizer, rate, weight, gradient, slots)
    if optimizer.name == "schedule_free_adam":
        return _schedule_free_adam(optimizer, rate, iterations + 1, weight, gradient, slots)
    change, new_slots = CHANGES[optimizer.name](optimizer, rate, iterations, gradient, slots)
    return weight + change, new_slots


def _sgd(
    optimizer: Optimizer, rate: float, _: int, gradient: np.ndarray, slots: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, Slots]:
    if not optimizer.momentum:
        return -rate * gradient, {}
    momentum = optimizer.momentum * slots["momentum"] - rate * gradient
    if optimizer.nesterov:
        return optimizer.momentum * momentum - rate * gradient, {"momentum": momentum}
    return momentum, {"momentum": momentum}


def _rmsprop(
    optimizer: Optimizer, rate: float, _: int, gradient: np.ndarray, slots: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, Slots]:
    rho = optimizer.rho
    velocity = rho * slots["velocity"] + (1 - rho) * gradient**2
    new = {"velocity": velocity}
    variance = velocity
    if optimizer.centered:
        new["average_gradient"] = rho * slots["average_gradient"] + (1 - rho) * gradient
        variance = velocity - new["average_gradient"] ** 2
    increment = rate * gradient / np.sqrt(variance + optimizer.epsilon)
    if optimizer.momentum > 0:
        new["momentum"] = optimizer.momentum * slots["momentum"] + increment
        increment = new["momentum"]
    return -increment, new


def _adam(
    optimizer: Optimizer,
    rate: float,
    iterations: int,
    gradient: np.ndarray,
    slots: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, Slots]:
    beta_1, beta_2, step = optimizer.beta_1, optimizer.beta_2, iterations + 1
    momentum = beta_1 * slots["momentum"] + (1 - beta_1) * gradient
    velocity = beta_2 * slots["velocity"] + (1 - beta_2) * gradient**2
    new = {"momentum": momentum, "velocity": velocity}
    if optimizer.amsgrad:
        velocity = new["velocity_hat"] = np.maximum(slots["velocity_hat"], velocity)
    unbiased = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return -unbiased * momentum / (np.sqrt(velocity) + optimizer.epsilon), new


def _adamax(
    optimizer: Optimizer,
    rate: float,
    iterations: int,
    gradient: np.ndarray,
    slots: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, Slots]:
    momentum = optimizer.beta_1 * slots["momentum"] + (1 - optimizer.beta_1) * gradient
    norm = np.maximum(optimizer.beta_2 * slots["norm"], np.abs(gradient))
    unbiased = rate / (1 - optimizer.beta_1 ** (iterations + 1))
    change = -unbiased * momentum / (norm + optimizer.epsilon)
    return change, {"momentum": momentum, "norm": norm}


def _nadam(
    optimizer: Optimizer,
    rate: float,
    iterations: int,
    gradient: np.ndarray,
    slots: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, Slots]:
    beta_1, beta_2, step = optimizer.beta_1, optimizer.beta_2, iterations + 1
    momentum = beta_1 * slots["momentum"] + (1 - beta_1) * gradient
    velocity = beta_2 * slots["velocity"] + (1 - beta_2) * gradient**2
    momenta = [beta_1 * (1 - 0.5 * 0.96**number) for number in range(1, step + 2)]
    ahead = momenta[-1] * momentum / (1 - np.prod(momenta))
    ahead = ahead + (1 - momenta[-2]) * gradient / (1 - np.prod(momenta[:-1]))
    spread = np.sqrt(velocity / (1 - beta_2**step))
    change = -rate * ahead / (spread + optimizer.epsilon)
    return change, {"momentum": momentum, "velocity": velocity}


def _adadelta(
    optimizer: Optimizer, rate: float, _: int, gradient: np.ndarray, slots: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, Slots]:
    rho, epsilon, moves = optimizer.rho, optimizer.epsilon, slots["accumulated_delta_var"]
    squares = rho * slots["accumulated_grad"] + (1 - rho) * gradient**2
    change = -gradient * np.sqrt(moves + epsilon) / np.sqrt(squares + epsilon)
    moves = rho * moves + (1 - rho) * change**2
    return rate * change, {"accumulated_grad": squares, "accumulated_delta_var": moves}


def _adagrad(
    optimizer: Optimizer, rate: float, _: int, gradient: np.ndarray, slots: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, Slots]:
    squares = slots["accumulator"] + gradient**2
    return -rate * gradient / np.sqrt(squares + optimizer.epsilon), {"accumulator": squares}


def _lion(
    optimizer: Optimizer, rate: float, _: int, gradient: np.ndarray, slots: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, Slots]:
    beta_1, beta_2, momentum = optimizer.beta_1, optimizer.beta_2, slots["momentum"]
    change = -rate * np.sign(beta_1 * momentum + (1 - beta_1) * gradient)
    return change, {"momentum": beta_2 * momentum + (1 - beta_2) * gradient}


def _ftrl(
    optimizer: Optimizer,
    rate: float,
    weight: np.ndarray,
    gradient: np.ndarray,
    slots: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, Slots]:
    leader, before = optimizer.leader, slots["accumulator"]
    after = before + gradient**2
    rise = (after**-leader.power - before**-leader.power) / rate
    linear = slots["linear"] + gradient + 2 * leader.shrinkage * weight - rise * weight
    stiffness = after**-leader.power / rate + 2 * leader.l2 + leader.beta / rate
    weight = (np.clip(linear, -leader.l1, leader.l1) - linear) / stiffness
    return weight, {"accumulator": after, "linear": linear}


def _schedule_free_adam(
    optimizer: Optimizer,
    rate: float,
    step: int,
    weight: np.ndarray,
    gradient: np.ndarray,
    slots: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, Slots]:
    beta_1, beta_2, before = optimizer.beta_1, optimizer.beta_2, slots["momentum"]
    velocity = beta_2 * slots["velocity"] + (1 - beta_2) * gradient**2
    spread = np.sqrt(velocity / (1 - beta_2**step)) + optimizer.epsilon
    warmth = min(step / optimizer.warmup, 1) if optimizer.warmup else 1
    place = before - rate * warmth * gradient / spread
    mean = (weight - (1 - beta_1) * before) / beta_1
    mean = (1 - 1 / step) * mean + place / step
    return (1 - beta_1) * place + beta_1 * mean, {"momentum": place, "velocity": velocity}


CHANGES = {
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamax": _adamax,
    "nadam": _nadam,
    "adadelta": _adadelta,
    "adagrad": _adagrad,
    "lion": _lion,
}
