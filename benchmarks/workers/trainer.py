"""What the worker's loop asks of a framework, and the sizes of a timed chunk."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Span:
    """`passes` over the first `images` images."""

    images: int
    passes: int

    @property
    def total(self) -> int:
        return self.images * self.passes


def span(wanted: int, available: int, batch: int) -> Span:
    """About `wanted` images in whole batches, so that no peer compiles for a partial one."""
    whole = available // batch * batch
    if wanted >= whole:
        return Span(whole, max(1, round(wanted / whole)))
    return Span(max(1, wanted // batch) * batch, 1)


class Trainer(Protocol):
    """A built model with its data in memory.

    `train` returns the mean loss of its last pass and `evaluate` the accuracy; both return only
    when the work is done.
    """

    parameters: int

    def train(self, work: Span) -> float: ...

    def evaluate(self, work: Span, batch: int) -> float: ...

    def one_image(self, call: str) -> Callable[[], object] | None:
        """`predict_on_batch`, `predict` or `train_on_batch` of one image, or what stands in its
        place, with its result where Python can read it; None where nothing does."""

    def touch_all(self) -> None:
        """Show the framework all training images, as a user's `fit` does, for the peak memory."""
