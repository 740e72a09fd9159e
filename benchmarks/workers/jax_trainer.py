"""Plain JAX: a hand-written jitted step that gathers its batch from the images on the device."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.images import Images
from benchmarks.nets import Net
from benchmarks.workers import jax_nets
from benchmarks.workers.trainer import Span


class JaxTrainer:
    """Has no options. The number of threads comes from the process's CPU set."""

    def __init__(self, net: Net, images: Images, threads: int, options: dict[str, bool]) -> None:
        self.batch = net.batch
        self.x, self.y = jnp.asarray(images.x, jnp.float32), jnp.asarray(images.labels, jnp.int32)
        self.x_test, self.y_test = (
            jnp.asarray(images.x_test, jnp.float32),
            jnp.asarray(images.labels_test, jnp.int32),
        )
        self.random = np.random.default_rng(0)
        self.weights = jax_nets.initial_weights(net, jax.random.key(0))
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self.weights))
        self.state, update = jax_nets.optimizer(net, self.weights)
        self.steps = 0

        def mean_loss(
            weights: jax_nets.Weights, x: jax.Array, y: jax.Array, key: jax.Array
        ) -> jax.Array:
            scores = jax.nn.log_softmax(jax_nets.logits(net, weights, x, key))
            return -jnp.take_along_axis(scores, y[:, None], 1).mean()

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(
            weights: jax_nets.Weights,
            state: list,
            x: jax.Array,
            y: jax.Array,
            indices: jax.Array,
            count: int,
        ) -> tuple[jax_nets.Weights, list, jax.Array]:
            key = jax.random.fold_in(jax.random.key(0), count)
            loss, gradients = jax.value_and_grad(mean_loss)(weights, x[indices], y[indices], key)
            return *update(weights, state, gradients), loss

        @functools.partial(jax.jit, static_argnames="batch")
        def count_right(
            weights: jax_nets.Weights, x: jax.Array, y: jax.Array, start: int, batch: int
        ) -> jax.Array:
            x = lax.dynamic_slice_in_dim(x, start, batch)
            y = lax.dynamic_slice_in_dim(y, start, batch)
            return (jax_nets.logits(net, weights, x).argmax(1) == y).sum()

        def probabilities(weights: jax_nets.Weights, x: jax.Array) -> jax.Array:
            return jax.nn.softmax(jax_nets.logits(net, weights, x))

        self.step, self.count_right = step, count_right
        self.probabilities = jax.jit(probabilities)

    def train(self, work: Span) -> float:
        for _ in range(work.passes):
            total = jnp.zeros(())
            order = self.random.permutation(work.images).reshape(-1, self.batch)
            for indices in order:
                self.weights, self.state, loss = self.step(
                    self.weights, self.state, self.x, self.y, indices, self.steps
                )
                total += loss
                self.steps += 1
        return float(total) / len(order)

    def evaluate(self, work: Span, batch: int) -> float:
        for _ in range(work.passes):
            right = jnp.zeros((), jnp.int32)
            for start in range(0, work.images, batch):
                right += self.count_right(self.weights, self.x_test, self.y_test, start, batch)
            right.block_until_ready()
        return int(right) / work.images

    def one_image(self, call: str) -> Callable[[], object] | None:
        x, y, first = self.x[:1], self.y[:1], np.zeros(1, np.int64)
        image = np.asarray(x)

        def train() -> float:
            self.weights, self.state, loss = self.step(
                self.weights, self.state, x, y, first, self.steps
            )
            self.steps += 1
            return float(loss)

        calls: dict[str, Callable[[], object]] = {
            "predict_on_batch": lambda: np.asarray(self.probabilities(self.weights, image)),
            "train_on_batch": train,
        }
        return calls.get(call)

    def touch_all(self) -> None:
        """Nothing to do: the device has held all images since the start."""
