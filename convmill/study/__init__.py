"""Controlled experiments: arms that differ in one thing, paired by seeds, told with intervals.

    convmill.study.run("pooling", quick=True)     # a data frame, one row a run
    convmill.study.read("studies/pooling-quick")  # its StudyResult: arms, comparisons, the answer

``convmill study`` is the same on the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from convmill.study.result import StudyResult

__all__ = ["read", "run"]


def run(
    study: Any,
    *,
    quick: bool = False,
    folder: str | Path | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    verbose: bool = True,
) -> Any:
    """Runs what is missing of a study, and prints what it shows.

    The arguments are those of ``experiment.carry_out``.

    Returns:
        One row a run: arm, seed, what was measured. A pandas data frame where pandas is installed,
        whose ``attrs["answer"]`` is the answer; else a list of dicts.
    """
    import sys

    from convmill.printing import say
    from convmill.study import catalogue

    question = catalogue.load(study, quick).question  # what is wrong is told before Keras is loaded
    if verbose:
        say(question, sys.stdout)
    from convmill.study.experiment import carry_out
    from convmill.study.tables import plain

    result, _ = carry_out(
        study, quick=quick, folder=folder, workers=workers, cluster=cluster, verbose=verbose
    )
    if verbose:
        say(plain(result), sys.stdout)
    try:
        import pandas
    except ImportError:
        return result.records()
    frame = pandas.DataFrame(result.records())
    frame.attrs["answer"] = result.answer
    return frame


def read(folder: str | Path) -> StudyResult:
    """What is in a study's folder, finished or not. Nothing is run.

    Raises:
        StudyError: there is no study in it, or one of another version.
    """
    from convmill.study.experiment import read

    return read(folder)
