"""What convmill keeps for one model between calls: how to run it, its Program, what was said."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from convmill import settings
from convmill.plan.graph import Graph
from convmill.plan.recipe import Recipe

if TYPE_CHECKING:
    from convmill.runtime.program import Program
    from convmill.train.bound import Bound


class Session:
    """One model's. ``strict`` and ``threads`` are None where the environment decides."""

    def __init__(self) -> None:
        self.strict: bool | None = None
        self.threads: int | None = None
        self.said: set[str] = set()
        self.running: Bound | None = None  # the one whose Program is ahead of Keras' variables
        self._program: Program | None = None
        self._made_for: tuple[Any, ...] = ()

    @property
    def is_strict(self) -> bool:
        """Whether what is not covered is an error for this model."""
        return settings.strict() if self.strict is None else self.strict

    def program(self, graph: Graph, recipe: Recipe | None) -> Program:
        """A Program for a graph: the last one where it fits, so that weights fit in memory once.

        Any Program of the same graph serves where ``recipe`` is None, which is for prediction.
        """
        from convmill.runtime.program import Program  # brings LLVM: not before it is needed

        threads = settings.threads() if self.threads is None else self.threads
        if self._program is not None:
            known_graph, known_recipe, known_threads = self._made_for
            fits = recipe is None or recipe == known_recipe
            if fits and graph == known_graph and threads == known_threads:
                return self._program
        self._program = Program(graph, recipe, threads=threads)
        self._made_for = (graph, recipe, threads)
        return self._program


_sessions: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def session(model: Any) -> Session:
    """The session of a model, made when it is first asked for."""
    with _lock:
        found = _sessions.get(model)
        if found is None:
            found = _sessions[model] = Session()
        return found
