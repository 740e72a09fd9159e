"""Random graphs train as plain Keras trains them; ``python -m tests.random_graphs`` runs more."""

import numpy as np
import pytest

from tests.random_graphs.compare import CLOSE, apart, compare, further
from tests.random_graphs.draw import draw
from tests.random_graphs.net import Net, Node, pruned
from tests.random_graphs.shrink import shrunk

# of convolutions, shared layers, frozen ones, batch normalization, and several ends
SEEDS = (2, 8, 24, 31, 37, 48)

pytestmark = pytest.mark.long


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")  # of one channel
@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs_train_as_keras_trains_them(seed):
    outcome = compare(draw(seed, most=6, steps=4))
    assert not outcome.skipped
    assert not outcome.parted


CHAIN = Net(
    seed=0,
    inputs=((4, 4, 1), (3,)),
    nodes=(
        Node("Conv2D", {"filters": 2, "kernel_size": 3, "strides": 2}, (0,)),
        Node("ReLU", {}, (2,), frozen=True),
        Node("Conv2D", {"filters": 2, "kernel_size": 3}, (3,), shares=2),
        Node("Flatten", {}, (4,)),
        Node("Dense", {"units": 2, "activation": "tanh"}, (5,)),
        Node("Dense", {"units": 2}, (1,)),
    ),
    outputs=(6, 7),
    losses=("huber", "mean_squared_error"),
    loss_weights=(1.0, 0.5),
    optimizer="Adam",
)


def test_a_net_shrinks_to_what_matters():
    def holds(net):
        return any(node.layer == "Conv2D" for node in net.nodes)

    small = shrunk(CHAIN, holds)
    # the second call: nothing shares its layer any more
    node = Node("Conv2D", {"filters": 2, "kernel_size": 3}, (0,))
    assert (small.inputs, small.nodes) == (((4, 4, 1),), (node,))
    assert (small.outputs, small.losses, small.optimizer) == ((1,), ("huber",), "SGD")
    assert small.batches == (2,)


def test_a_net_keeps_what_its_outputs_read():
    first = pruned(CHAIN)
    assert first == CHAIN
    assert shrunk(CHAIN, lambda net: len(net.outputs) == 2 and len(net.nodes) == 6).nodes[2].shares


def test_what_parts_is_told():
    exact = {"losses": np.array([1.0, 2.0]), "weight": np.array([0.01])}
    near = {name: value + CLOSE / 20 for name, value in exact.items()}
    far = {"losses": exact["losses"], "weight": np.array([0.02])}
    assert not apart(near, exact)
    assert apart(far, exact) == ["weight: 0.1 apart"]
    assert not further(far, far, exact)
    assert len(further(far, near, exact)) == 1
    assert apart({**exact, "weight": np.array([np.nan])}, exact) == ["weight: inf apart"]
