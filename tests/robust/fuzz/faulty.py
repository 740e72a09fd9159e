"""Cases that do all that none should, to see that it is told."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from tests.robust.fuzz.outcomes import REFUSED, RIGHT, Case, Fault, Result


def begin(folder: Path) -> Case:
    """Case 1 ends its process, 2 holds it, 4 is a fault."""

    def case(number: int) -> Result:
        if number == 1:
            ctypes.string_at(0)
        if number == 2:
            time.sleep(1e6)
        if number == 4:
            raise Fault("a fault", "a silent wrong number")
        return Result("a case", REFUSED if number == 3 else RIGHT)

    return case
