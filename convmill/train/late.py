"""Keras variables whose values come late: when somebody reads or assigns them, not before.

A step of training changes dozens of variables, and handing each of them a new array of the
backend's takes longer than the step. So a variable may be made to wait: it becomes of a class of
its own, a subclass of its former one, where ``_value``, through which Keras reads and assigns all
of it, first sees to it that the value is there. Once it is, the variable is of its own class again.

Only where a variable is never written to in place, as on JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import keras

_PLACE = "_convmill_late"  # among a variable's attributes: what brings its value


class _Late:
    """What the classes of variables that wait have beside those of Keras."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For ``copy`` and ``pickle``: as a variable that does not wait."""
        _bring(self)
        end_waiting([self])
        return self.__reduce_ex__(protocol)


def _get(variable: Any) -> Any:
    _bring(variable)
    return vars(variable)["_value"]


def _set(variable: Any, value: Any) -> None:
    _bring(variable)
    vars(variable)["_value"] = value


@cache
def _late_class(cls: type) -> type:
    """The class of variables of ``cls`` that wait; by its name it is ``cls``."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (_Late, cls), {**names, "_value": property(_get, _set)})


def _bring(variable: Any) -> None:
    """Has the value brought; whoever brings it ends the waiting."""
    bring = vars(variable).get(_PLACE)
    if bring is not None:
        bring()


def can_wait(variables: Iterable[Any]) -> bool:
    """Whether all of these are variables that may wait: arrays of their own, in one place."""
    if keras.backend.backend() != "jax":
        return False
    known = (vars(one) for one in variables)
    return all(one.get("_value") is not None and one.get("_layout") is None for one in known)


def is_waiting(variable: Any) -> bool:
    """Whether a variable's value is still to come."""
    return isinstance(variable, _Late)


def let_wait(variables: Iterable[Any], bring: Callable[[], None]) -> None:
    """``bring`` is called before anybody reads or assigns one of them; it ends the waiting."""
    for variable in variables:
        vars(variable)[_PLACE] = bring
        if not is_waiting(variable):
            cls: Any = type(variable)
            variable.__class__ = _late_class(cls)


def end_waiting(variables: Iterable[Any]) -> None:
    """From here on all are variables like any others."""
    for variable in variables:
        if is_waiting(variable):
            variable.__class__ = type(variable).__mro__[2]
        vars(variable).pop(_PLACE, None)


def assign(variable: Any, value: Any) -> None:
    """``variable.assign(value)``; where the variable waits also within the scopes of Keras and JAX,
    in which somebody may have asked for it, and then it goes on waiting."""
    if not is_waiting(variable):
        variable.assign(value)
        return
    import jax

    with jax.ensure_compile_time_eval():
        tensor = keras.ops.convert_to_tensor(value, dtype=variable._dtype)
    vars(variable)["_value"] = tensor


def held(variable: Any) -> Any:
    """A variable's value as far as it has come."""
    return vars(variable)["_value"] if is_waiting(variable) else variable.value


def give(variable: Any, value: float) -> None:
    """``variable.assign(value)``, of a number, when somebody asks for it."""
    # The waiting is not ended then: another thread may have given another number meanwhile.
    let_wait([variable], partial(_bring_number, variable, [value]))


def _bring_number(variable: Any, numbers: list[float]) -> None:
    """Assigns the number, which is taken away once that is done."""
    for number in numbers:
        assign(variable, number)
    numbers.clear()
