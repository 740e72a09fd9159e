"""Runs side by side, one a core, by joblib: on this machine, or on a cluster.

A run that fails is an answer like another. Where a process dies (for want of memory, say) the runs
that were in hand are tried once more, one after the other, and the rest goes on. Where the system
starts no processes, runs are made in this one.
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from itertools import islice

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from convmill.runtime.host import cores
from convmill.study.errors import StudyError
from convmill.study.parent import end_with
from convmill.study.result import Run
from convmill.study.training import Job, train
from convmill.threads import is_refusal

CLUSTERS = ("ray", "dask")
DIED = "its process ended without a word, twice: there may not be enough memory"

Outcome = tuple[Job, Run | str]  # a string says why the run failed


def run_jobs(
    jobs: Sequence[Job], workers: int | None = None, cluster: str | None = None
) -> Iterator[Outcome]:
    """Makes the runs, and gives each back as soon as it is finished, in whichever order.

    Args:
        workers: how many runs at a time; None for one a core. One at a time runs in this process.
        cluster: None for processes of this machine, else one of CLUSTERS.

    Raises:
        StudyError: the cluster's package is not installed.
    """
    count = min(workers or cores(), max(len(jobs), 1))
    left = {job.digest: job for job in jobs}
    with _backend(cluster):
        while left:
            begun: dict[str, Job] = {}
            others = set(multiprocessing.active_children())
            try:
                for job, found in _pool(list(left.values()), count, cluster, begun):
                    del left[job.digest], begun[job.digest]
                    yield job, found
            except TerminatedWorkerError:
                for digest, job in begun.items():
                    del left[digest]
                    yield _alone(job)
            except Exception as error:
                if count == 1 or not is_refusal(error):
                    raise
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()  # nobody will give it work
                warnings.warn(
                    f"{count} processes were wanted and could not be started ({error}): the runs "
                    "are made one after the other.",
                    RuntimeWarning,
                    stacklevel=2,
                )
                count = 1


def _pool(
    jobs: list[Job], count: int, cluster: str | None, begun: dict[str, Job]
) -> Iterator[Outcome]:
    """Runs ``count`` at a time; ``begun`` are those that may be in hand."""
    folder = os.getcwd() if cluster is None else None

    def tasks(some: Sequence[Job]) -> Iterator[joblib.parallel.DelayedFunction]:
        for job in some:
            begun[job.digest] = job
            yield joblib.delayed(_attempt)(job, os.getpid(), folder)

    if cluster == "ray":  # whose backend gives back all or nothing
        waiting = iter(jobs)
        while some := list(islice(waiting, count)):
            yield from joblib.Parallel(n_jobs=count)(tasks(some))
        return
    parallel = joblib.Parallel(
        n_jobs=count, return_as="generator_unordered", batch_size=1, pre_dispatch=count
    )
    with closing(parallel(tasks(jobs))) as found:
        yield from found


def _alone(job: Job) -> Outcome:
    """One run in a process of its own."""
    task = joblib.delayed(_attempt)(job, os.getpid(), os.getcwd())
    try:
        found: list[Outcome] = joblib.Parallel(n_jobs=2)([task])
    except TerminatedWorkerError:
        return job, DIED
    return found[0]


def _attempt(job: Job, study: int, folder: str | None) -> Outcome:
    """What is done in another process, for that of number ``study``; whatever a run raises is said
    in words. It stands in ``folder``, where the files of the study are looked for: the process may
    have begun elsewhere, for a study before."""
    end_with(study)
    try:
        if folder is not None:
            os.chdir(folder)
        return job, train(job)
    except StudyError as error:
        return job, str(error)
    except MemoryError as error:
        return job, f"there was not enough memory. {error}".strip()
    except Exception as error:  # Keras, and code of the user's, can raise anything
        return job, f"{type(error).__name__}: {error}"


def _backend(cluster: str | None) -> AbstractContextManager:
    if cluster is None:
        return joblib.parallel_config(backend="loky", inner_max_num_threads=1)
    try:
        if cluster == "ray":
            from ray.util.joblib import register_ray

            register_ray()
        else:
            from dask.distributed import Client

            Client.current(allow_global=True) if _has_client() else Client()
    except ImportError as error:
        raise StudyError(
            f"--cluster {cluster} needs the package {cluster}: pip install 'convmill[cluster]'. "
            f"{error}"
        ) from error
    return joblib.parallel_config(backend=cluster)


def _has_client() -> bool:
    """Whether the user has connected to a cluster of their own."""
    from dask.distributed import default_client

    try:
        default_client()
    except ValueError:
        return False
    return True
