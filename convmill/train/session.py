"""What convmill keeps for one model between calls: how to run it, its Program, what was said."""

from __future__ import annotations

import sys
import weakref
from typing import Any

from convmill import settings
from convmill.lower.machine import Machine
from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.shapes import Sizes
from convmill.plan.halves import Half
from convmill.plan.recipe import Recipe
from convmill.runtime import host, reserve
from convmill.train import turns
from convmill.train.loaded import Loaded

_Key = tuple[Half, Sizes | None]
_Means = tuple[int | None, Machine]  # threads, and the target
_MOST_SIZES = 4  # for which Programs are kept


class Session:
    """One model's. ``strict`` and ``threads`` are None where the environment decides."""

    def __init__(self) -> None:
        self.strict: bool | None = None
        self.threads: int | None = None
        self.said: set[str] = set()
        self.counting: Any = None  # whose figures Keras' metrics hold
        self.sizes: Sizes | None = None  # of the images at work, where the model takes several
        # The last Program of each half, of each size of images, and what it was made for.
        self._made: dict[_Key, tuple[Loaded, Graph, Recipe | None, _Means]] = {}

    @property
    def is_strict(self) -> bool:
        """Whether what is not covered is an error for this model."""
        return settings.strict() if self.strict is None else self.strict

    def loaded(
        self,
        graph: Graph,
        recipe: Recipe | None,
        half: Half = "whole",
        sizes: Sizes | None = None,
    ) -> Loaded:
        """A Program for a graph, of a model read for ``sizes``: the last one where it fits, so that
        weights fit in memory once, or a few times where there are images of several sizes.

        Any Program of the same graph serves where ``recipe`` is None, which is for prediction.
        """
        if "llvmlite.binding" not in sys.modules:
            reserve.require(reserve.LOADING, "loading LLVM")
        from convmill.runtime.program import Program  # brings LLVM: not before it is needed

        threads, machine = means = self._means()
        key = half, sizes
        if key in self._made:
            known, known_graph, known_recipe, known_means = self._made[key]
            fits = recipe is None or recipe == known_recipe
            if fits and graph == known_graph and means == known_means:
                return known
        # Two threads that come here at once make one each, and the last one stays.
        made = Loaded(Program(graph, recipe, threads=threads, machine=machine))
        self._made.pop(key, None)
        self._made[key] = made, graph, recipe, means
        of_sizes = [key for key in list(self._made) if key[1] is not None]
        for oldest in of_sizes[:-_MOST_SIZES]:
            self._made.pop(oldest, None)
        return made

    def holds(self, loaded: Loaded, sizes: Sizes | None) -> bool:
        """Whether this is the last Program for the whole model, read for ``sizes``, with as many
        threads and for the same target as now."""
        made = self._made.get(("whole", sizes))
        return made is not None and made[0] is loaded and made[3] == self._means()

    def _means(self) -> _Means:
        """With what a Program is to compute now."""
        threads = settings.threads() if self.threads is None else self.threads
        return threads, host.machine()

    def forget(self) -> None:
        """Lets the Programs go."""
        self._made.clear()


_sessions: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()


def session(model: Any) -> Session:
    """The session of a model, made when it is first asked for."""
    return _sessions.get(model) or _sessions.setdefault(model, Session())


def _forget(lost: turns.Keys) -> None:
    """In the child of a fork: a Program that another thread was running is half trained."""
    for one in list(_sessions.values()):
        if id(one) in lost:
            one.forget()


turns.in_child(_forget)
