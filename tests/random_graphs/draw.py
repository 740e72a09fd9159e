"""Draws nets: DAGs of 3 to 30 layers, with all kinds of layers, branches and outputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tests.random_graphs import layers_of
from tests.random_graphs.net import Net, Node, Shape, call, pruned

MOST_VALUES = 700  # of one tensor: these nets are tiny
OPTIMIZERS: dict[str, dict[str, float]] = {
    # A gradient that is zero is rounding noise in float32, which must not become a whole step:
    # hence the large epsilons.
    "SGD": {"learning_rate": 0.05},
    "sgd": {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True},
    "Adam": {"learning_rate": 0.01, "epsilon": 1e-2},
    "RMSprop": {"learning_rate": 0.005, "epsilon": 1e-2},
    "Adamax": {"learning_rate": 0.01, "epsilon": 1e-2},
    "Adagrad": {"learning_rate": 0.02},
}
EXTRAS: tuple[dict[str, float], ...] = (  # now and then, to any optimizer
    *({"clipnorm": 0.3}, {"global_clipnorm": 0.5}, {"clipvalue": 0.05}, {"weight_decay": 0.02}),
    *({"use_ema": True, "ema_momentum": 0.8}, {"gradient_accumulation_steps": 2}),
)
LOSSES = {  # beside the activation of what they read
    "softmax": ("categorical_crossentropy", "sparse_categorical_crossentropy"),
    "sigmoid": ("binary_crossentropy", "mean_squared_error"),
    "tanh": ("squared_hinge", "cosine_similarity", "mean_absolute_error"),
    "linear": ("mean_squared_error", "huber", "log_cosh"),
}


class Drawing:
    """A net being drawn: its nodes so far, and Keras' symbolic tensors for their shapes."""

    def __init__(self, rng: np.random.Generator, inputs: tuple[Shape, ...]) -> None:
        self.rng, self.inputs = rng, inputs
        self.nodes: list[Node] = []
        self.tensors: list[Any] = [keras.Input(shape) for shape in inputs]
        self.made: dict[int, Any] = {}
        self.read: set[int] = set()

    def shape(self, place: int) -> Shape:
        """Of what stands at a place, without the batch."""
        return tuple(self.tensors[place].shape[1:])

    def add(
        self,
        layer: str,
        arguments: dict[str, Any],
        *inputs: int,
        most: int = MOST_VALUES,
        **more: Any,
    ) -> int | None:
        """Appends a call; None where Keras does not take it or it becomes too large."""
        node = Node(layer, arguments, inputs, **more)
        place, read = len(self.tensors), [self.tensors[one] for one in inputs]
        try:
            tensor = call(node, read, self.made, place)
        except ValueError:
            return None
        if not 0 < np.prod(tensor.shape[1:]) <= most:
            return None
        self.tensors.append(tensor)
        self.nodes.append(node)
        self.read |= set(inputs)
        return place

    def need(self, layer: str, arguments: dict[str, Any], *inputs: int) -> int:
        """Appends a call that cannot fail."""
        place = self.add(layer, arguments, *inputs, most=MOST_VALUES**2)
        assert place is not None, (layer, arguments, [self.shape(one) for one in inputs])
        return place

    def some(self) -> int:
        """A place to read: mostly one that nobody reads yet, or a late one."""
        unread = [one for one in range(len(self.tensors)) if one not in self.read]
        if unread and self.rng.random() < 0.7:
            return int(self.rng.choice(unread))
        late = max(0, len(self.tensors) - 5)
        return int(self.rng.integers(late if self.rng.random() < 0.7 else 0, len(self.tensors)))


def draw(seed: int, *, most: int = 26, steps: int = 10) -> Net:
    """The net of a seed: up to ``most`` layers, and some that lead to the outputs."""
    rng = np.random.default_rng(seed)
    count = 1 + int(rng.choice((0, 0, 0, 1, 1, 2)))
    one = Drawing(rng, tuple(_input(rng) for _ in range(count)))
    goal = int(rng.integers(2, most + 1))
    for _ in range(3 * goal):
        if len(one.nodes) >= goal:
            break
        _grow(one)
    outputs, losses = _ends(one)
    name = str(rng.choice(list(OPTIMIZERS)))
    extra = EXTRAS[rng.integers(len(EXTRAS))] if rng.random() < 0.25 else {}
    net = Net(
        seed=seed,
        inputs=one.inputs,
        nodes=tuple(one.nodes),
        outputs=outputs,
        losses=losses,
        loss_weights=tuple(float(value) for value in rng.choice((0.3, 1.0, 1.7), len(outputs))),
        optimizer={"sgd": "SGD"}.get(name, name),
        options=OPTIMIZERS[name] | extra,
        batches=_batches(rng, steps),
        weighted=bool(rng.random() < 0.2),
    )
    return pruned(net)


def _batches(rng: np.random.Generator, steps: int) -> tuple[int, ...]:
    """Sizes of batches; Keras compiles its step for each size."""
    size = int(rng.integers(2, 10))
    last = size if rng.random() < 0.8 else int(rng.integers(1, 5))
    return (*(size,) * (steps - 1), last)


def _input(rng: np.random.Generator) -> Shape:
    rank = int(rng.choice((3, 3, 3, 3, 2, 1)))
    sizes = (rng.integers(3, 11), rng.integers(3, 11), rng.choice((1, 1, 2, 3, 5)))
    return tuple(int(size) for size in sizes[-rank:]) if rank > 1 else (int(rng.integers(2, 9)),)


def _grow(one: Drawing) -> None:
    """One more layer, or a few around a branch."""
    kind = one.rng.random()
    if kind < 0.12:
        _branch(one)
    elif kind < 0.26:
        _merge(one)
    elif kind < 0.32 and one.nodes:
        _again(one)
    else:
        place = one.some()
        found = layers_of.some(one.rng, one.shape(place))
        if found is not None:
            one.add(*found, place, frozen=bool(one.rng.random() < 0.1))


def _branch(one: Drawing) -> None:
    """A residual block: a layer or two that keep the shape, and a merge with what they read."""
    place = one.some()
    shape = one.shape(place)
    inner: int | None = place
    for _ in range(int(one.rng.integers(1, 3))):
        found = layers_of.keeping(one.rng, shape)
        inner = one.add(*found, inner, frozen=bool(one.rng.random() < 0.1))
        if inner is None:
            return
    one.add(_merging(one.rng), {}, *one.rng.permutation([place, inner]).tolist())


def _merging(rng: np.random.Generator) -> str:
    return str(rng.choice(("Add", "Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract")))


def _merge(one: Drawing) -> None:
    """Two or three tensors that fit: side by side, or place by place with broadcasts."""
    place = one.some()
    others = one.rng.permutation(len(one.tensors)).tolist()
    if one.rng.random() < 0.5:
        rank = len(one.shape(place))
        axis = -int(one.rng.integers(1, rank + 1))
        fits = [other for other in others if _alike(one.shape(place), one.shape(other), axis)]
        chosen = [place, *fits[: int(one.rng.integers(1, 3))]]
        if len(chosen) > 1:
            one.add("Concatenate", {"axis": axis}, *chosen)
        return
    fits = [other for other in others if _broadcast(one.shape(place), one.shape(other))]
    kind = _merging(one.rng)
    for other in fits[:4]:
        pair = one.rng.permutation([place, other]).tolist()
        if kind not in ("Subtract", "Minimum") and len(fits) > 1 and one.rng.random() < 0.3:
            pair.append(fits[-1])
        if one.add(kind, {}, *pair) is not None:
            return


def _alike(one: Shape, other: Shape, axis: int) -> bool:
    """Whether the shapes differ along the axis alone."""
    if len(one) != len(other):
        return False
    return all(
        sizes[0] == sizes[1] or at == len(one) + axis
        for at, sizes in enumerate(zip(one, other, strict=True))
    )


def _broadcast(one: Shape, other: Shape) -> bool:
    try:
        np.broadcast_shapes(one, other)
    except ValueError:
        return False
    return True


def _again(one: Drawing) -> None:
    """A layer that is there, called once more."""
    first = int(one.rng.integers(len(one.inputs), len(one.tensors)))
    root = one.nodes[first - len(one.inputs)]
    place = one.some()
    if root.shares is not None or len(root.inputs) != 1:
        return
    here, there = one.shape(place), one.shape(root.inputs[0])
    # Weights along any axes fit one size; Keras notices another one only when it computes.
    alike = here == there if "axis" in root.arguments else len(here) == len(there)
    if alike:
        one.add(root.layer, dict(root.arguments), place, shares=first, frozen=root.frozen)


def _ends(one: Drawing) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Outputs with losses, such that all that nobody reads leads to one of them."""
    unread = [place for place in range(len(one.tensors)) if place not in one.read]
    groups = np.array_split(one.rng.permutation(unread), one.rng.integers(1, 4))
    outputs, losses = [], []
    for group in (group.tolist() for group in groups if len(group)):
        shape = one.shape(group[0])
        if len(group) == 1 and len(shape) > 1 and one.rng.random() < 0.5:
            place = group[0]
        else:
            flat = [_flat(one, place) for place in group]
            place = flat[0] if len(flat) == 1 else one.need("Concatenate", {}, *flat)
        activation = str(one.rng.choice(list(LOSSES)))
        units = {"units": int(one.rng.integers(2, 6)), "activation": activation}
        outputs.append(one.need("Dense", units, place))
        losses.append(str(one.rng.choice(LOSSES[activation])))
    if one.nodes and one.rng.random() < 0.2:  # any layer as it is, whoever reads it
        outputs.append(int(one.rng.integers(len(one.inputs), len(one.tensors))))
        losses.append(str(one.rng.choice(LOSSES["linear"])))
    return tuple(outputs), tuple(losses)


def _flat(one: Drawing, place: int) -> int:
    """As a vector."""
    rank = len(one.shape(place))
    if rank == 1:
        return place
    if rank < 4 and one.rng.random() < 0.4:
        kind = one.rng.choice(("GlobalAveragePooling", "GlobalMaxPooling"))
        return one.need(f"{kind}{rank - 1}D", {}, place)
    return one.need("Flatten", {}, place)
