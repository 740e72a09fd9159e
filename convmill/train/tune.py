"""How a model's stages are computed, measured on this machine instead of modelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convmill.kernels.operations import operation_of
from convmill.kinds import check_callable
from convmill.lower.alternatives import words
from convmill.plain_text import plain_text
from convmill.printing import line_width
from convmill.train.session import session
from convmill.train.trial import trial_of

if TYPE_CHECKING:
    from convmill.runtime.tune import Tried, Tuned

TEXT_WIDTH = 110
_PARTS = {"forward": "forward", "input_gradient": "dX", "weight_gradient": "dW"}


@dataclass(frozen=True)
class Tuning:
    """What was measured; prints as a table. ``found`` has it as data, for training and, where
    inference has stages of its own, for that; ``images`` were in a run."""

    found: tuple[Tuned, ...]
    images: int

    @property
    def changed(self) -> bool:
        """Whether anything is computed otherwise from now on."""
        return any(one.values for one in self.found)

    def __rich__(self) -> RenderableType:
        shown: list[RenderableType] = []
        for one in self.found:
            if one.tried:
                shown.append(self._table(one))
            shown.append(Text(self._summary(one)))
            if one.unkept is not None:
                shown.append(Text(f"No other process will know of it: {one.unkept}."))
        return Group(*shown)

    def __str__(self) -> str:
        return plain_text(self.__rich__(), line_width(TEXT_WIDTH))

    __repr__ = __str__

    def _table(self, found: Tuned) -> Table:
        """A row for each part that could be computed otherwise."""
        table = Table(
            title=f"{found.kind}, microseconds an image on one thread",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        for name in ("stage", "part", "as modelled", "us", "quickest of the others", "us", ""):
            table.add_column(name, justify="right" if name == "us" else "left")
        for one in found.tried:
            table.add_row(*self._row(found, one))
        return table

    def _row(self, found: Tuned, one: Tried) -> list[str]:
        stage = found.stages[one.part.stage]
        others = range(1, len(one.seconds))
        best = min(others, key=lambda number: one.seconds[number])
        times = [f"{1e6 * one.seconds[number] / self.images:.1f}" for number in (0, best)]
        taken = (one.part.stage, one.part.field) in found.values
        return [
            f"stage{one.part.stage} {operation_of(stage).words(stage)}",
            _PARTS.get(one.part.field, "all"),
            words(one.part.values[0]),
            times[0],
            words(one.part.values[best]),
            times[1],
            "taken" if taken else "",
        ]

    def _summary(self, found: Tuned) -> str:
        if not found.tried:
            return f"There is one way only to compute the stages for {found.kind}."
        if not found.before:
            return f"Nothing is clearly quicker than what was chosen for {found.kind}."
        before, after = (1e6 * each / self.images for each in (found.before, found.after))
        told = f"An image takes {before:.1f} us as it was, {after:.1f} us with all that was quicker"
        if not found.values:
            return f"{told}: nothing is changed."
        return f"{told} ({before / after:.2f} times as fast): taken."


def tune(
    model: Any,
    x: Any,
    y: Any,
    *,
    batch_size: int = 64,
    tell: Callable[[str], None] = lambda text: None,
) -> Tuning:
    """Measures how each stage of a compiled Keras model is computed quickest on this machine.

    The first batch of ``x`` and ``y`` is trained on again and again, in programs of their own: the
    model is not changed. What is found to be quicker is used from then on, by this process and by
    all that compile an equal net, with the same layers frozen, for the same processor (it is kept
    beside the native code, see CONVMILL_CACHE). Other ways of computing round otherwise, so the
    last bits of what is trained are others than before.

    Args:
        model: a Keras model with one ``compile`` behind it.
        x, y: arrays as ``fit`` takes them, of which the first ``batch_size`` images are taken; no
            streams.
        batch_size: images in a step, as they will be trained.
        tell: hears what is being done, in words.

    Returns:
        What was measured, in seconds, and what is taken; prints as a table.

    Raises:
        TypeError: ``model`` is no Keras model, or ``tell`` no function.
        ValueError: ``compile`` was not called, ``x`` is a stream, ``batch_size`` is no positive
            whole number, or the data do not fit the model.
        NotCovered: the model is not compiled, Keras takes part in its steps, or it has a frozen
            base, whose programs are others.
    """
    check_callable("tell", tell, "a function of a text")
    from convmill.runtime import tune as measuring  # brings LLVM: not before it is needed

    trial = trial_of(model, x, y, batch_size, "tune")
    found = tuple(measuring.tune(trial.program, trial.runs, tell))
    session(model).forget()  # its Program is as it was chosen before
    return Tuning(found, trial.images)
