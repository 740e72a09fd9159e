"""What ``CONVMILL_DEBUG`` prints on the way from a graph to native code, on standard error.

1: the graph. 2: stages and choices too. 3: launches and memory too. 4: LLVM IR too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from convmill import settings
from convmill.printing import printable

GRAPH, STAGES, LAUNCHES, IR = 1, 2, 3, 4


def show(level: int, title: str, text: Callable[[], str]) -> None:
    """Prints ``text()`` under its title, where so much is asked for."""
    if settings.debug() >= level:
        whole = f"convmill: {title}\n{text()}\n"
        print(printable(whole, sys.stderr), file=sys.stderr, flush=True)
