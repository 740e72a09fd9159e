"""A study from its file to its result: what is missing is run, and kept at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convmill.inspection.numbers import plural
from convmill.kinds import check_one_of, check_path
from convmill.study import catalogue, store
from convmill.study.analysis import analyze
from convmill.study.plan import Plan, make_plan
from convmill.study.progress import Progress, progress_for
from convmill.study.result import StudyResult
from convmill.study.schedule import CLUSTERS, run_jobs
from convmill.study.spec import Spec
from convmill.whole import check_whole

FOLDER = Path("studies")  # where a study's folder goes when nothing says another

Study = str | Path | Mapping[str, Any]


def carry_out(
    study: Study,
    *,
    quick: bool = False,
    folder: str | Path | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    verbose: bool = True,
) -> tuple[StudyResult, Path]:
    """Runs what is missing of a study; its result, and the folder that holds it.

    Args:
        study: a name of a study that comes with convmill, the path of a TOML file, or the table
            that such a file would hold.
        quick: its quick form.
        folder: where its runs go, and where they are looked for; by default ``studies/NAME``.
        workers: how many runs at a time, None for one a core.
        cluster: "ray" or "dask" for joblib's backends of these; None for this machine.
        verbose: whether to show progress on standard output.

    Raises:
        TypeError, ValueError: an argument is of another kind, or none of those that there are.
        StudyError: the study, its data or the folder cannot be used.
        Failure, OSError: the folder cannot be written; all that was finished before is there.
    """
    if folder is not None:
        check_path("folder", folder, "the study's folder")
    if workers is not None:
        workers = check_whole("workers", workers, 1)
    check_one_of("cluster", cluster, (*CLUSTERS, None))
    spec = catalogue.load(study, quick)
    progress = progress_for(verbose)
    plan = make_plan(spec)
    for failure in dict.fromkeys(arm.failure for arm in plan.arms if arm.failure):
        progress.say(f"Left out, for it cannot be made: {failure}")
    where = Path(folder) if folder is not None else default_folder(spec)
    command = f"convmill study run {study if isinstance(study, str | Path) else spec.name}"
    command += " --quick" if quick else ""
    wanted = {job.digest for job in plan.jobs}
    kept = store.read_kept(where, wanted, spec.measures)
    for line in _what_counts(plan, where, kept):
        progress.say(line)
    store.begin(where, spec, plan, command)
    jobs = [job for job in plan.jobs if job.digest not in kept.runs]
    _run(jobs, plan, where, progress, workers, cluster)
    return analyze(spec, plan.arms, store.read_kept(where, wanted, spec.measures), command), where


def read(folder: str | Path) -> StudyResult:
    """The result in a study's folder, finished or not; nothing is run.

    Raises:
        TypeError: ``folder`` is no path.
        StudyError: there is none, or it is of another version.
    """
    check_path("folder", folder, "the study's folder")
    found = store.read_folder(Path(folder))
    return analyze(found.spec, found.arms, found.kept, found.command)


def default_folder(spec: Spec) -> Path:
    """Where the runs of a study go when nothing says another place."""
    return FOLDER / (f"{spec.name}-quick" if spec.quick else spec.name)


def _run(
    jobs: list[Any],
    plan: Plan,
    folder: Path,
    progress: Progress,
    workers: int | None,
    cluster: str | None,
) -> None:
    work = {arm.name: arm.work for arm in plan.arms}
    total = len(plan.jobs)
    with progress.running(total, total - len(jobs), sum(work[job.arm.name] for job in jobs)):
        for job, found in run_jobs(jobs, workers, cluster):
            store.keep(folder, job, found)
            progress.finished(job, found, work[job.arm.name])


def _what_counts(plan: Plan, folder: Path, kept: store.Kept) -> list[str]:
    """Which of the runs that are there still count; of the others only where some are missing."""
    wanted = {digest for arm in plan.arms for digest in arm.digests}
    there = wanted & set(kept.runs)
    lines = [f"Not read, so the run is made again: {words}" for words in kept.unread]
    if there:
        lines.append(f"{len(there)} of {len(wanted)} runs are in {folder} already")
    if there == wanted:
        return lines
    if kept.foreign:
        lines.append(
            f"{plural(kept.foreign, 'file')} there cannot be read, as those of another version of "
            "convmill, and do not count. They stay where they are"
        )
    stale = [run for digest, run in kept.runs.items() if digest not in wanted]
    if stale:
        arms = ", ".join(dict.fromkeys(run.arm for run in stale))
        lines.append(
            f"{len(stale)} runs there do not count: they were made for another configuration "
            f"(arms: {arms}). They stay where they are"
        )
    return lines
