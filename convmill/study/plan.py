"""From a study to its runs: arms built, matched and digested, before anything is trained."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convmill.study import arms, images
from convmill.study.arm_spec import KEPT, ArmSpec
from convmill.study.errors import StudyError
from convmill.study.matching import NAMES, Sizes, match, scaled, sizes_of
from convmill.study.measures import MEASURES
from convmill.study.sources import sources_of
from convmill.study.spec import Spec
from convmill.study.training import Job

FORMAT = 1  # of what is digested and stored; another one is not read
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in what Python says of a function
OWN_CODE = re.compile(r'"class_name": "function"|"module": (null|"(?!keras|builtins))|<function')
DIGITS = 16  # of a digest in hexadecimal


@dataclass(frozen=True)
class PlannedArm:
    """What is known of an arm before it is trained; ``failure`` says why it cannot be, and sizes
    are None then. ``work`` are the multiply-adds of a run, 0 where not known."""

    name: str
    label: str
    base: str
    at: float | None
    parameters: int | None = None
    multiply_adds: int | None = None
    match: str = ""
    failure: str = ""
    seeds: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()
    work: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The arms, and one job for each arm and seed, in the order of seeds: pairs are trained close
    together. Arms that are equal in all but their names share their runs."""

    arms: tuple[PlannedArm, ...]
    jobs: tuple[Job, ...] = field(default=())


@dataclass(frozen=True)
class _Built:
    """An arm that could be built: by which factor its widths are scaled, and what comes of it."""

    factor: float
    sizes: Sizes
    words: str
    described: Mapping[str, Any]


def make_plan(spec: Spec) -> Plan:
    """Builds every arm once, without training.

    Raises:
        StudyError: no arm can be built, or has its data.
    """
    missing = _missing_data(spec)
    planned, jobs = [], []
    for arm in spec.arms:
        try:
            if arm.data.name in missing:
                raise missing[arm.data.name]
            built = _build(arm, spec)
            own = [_job(arm, built, seed, spec) for seed in arm.seeds]
        except Exception as error:  # Keras, and code of the user's, can raise anything
            failure = _failure(arm, error)
            planned.append(PlannedArm(arm.name, arm.label, arm.base, arm.at, failure=failure))
            continue
        jobs += own
        planned.append(
            PlannedArm(
                name=arm.name,
                label=arm.label,
                base=arm.base,
                at=arm.at,
                parameters=built.sizes.parameters,
                multiply_adds=built.sizes.multiply_adds,
                match=built.words,
                seeds=arm.seeds,
                digests=tuple(job.digest for job in own),
                work=_work(arm, built.sizes),
            )
        )
    if not jobs:
        raise StudyError("\n".join(dict.fromkeys(arm.failure for arm in planned)))
    unlike = {job.digest: job for job in jobs}.values()
    order = {seed: place for place, seed in enumerate(dict.fromkeys(job.seed for job in unlike))}
    return Plan(tuple(planned), tuple(sorted(unlike, key=lambda job: order[job.seed])))


def _missing_data(spec: Spec) -> dict[str, StudyError]:
    """Why data sets cannot be had, by their names; each is asked for once."""
    found = {}
    for name in dict.fromkeys(arm.data.name for arm in spec.arms):
        try:
            images.dataset(name)
        except StudyError as error:
            found[name] = error
    return found


def _failure(arm: ArmSpec, error: Exception) -> str:
    """Why an arm cannot be trained, with its name, but for data that many may share."""
    text = str(error)
    if isinstance(error, StudyError):
        named = text.startswith(("arm '", "data: "))
        return text if named else f"arm '{arm.name}': {text}"
    return f"arm '{arm.name}': {type(error).__name__}: {text}"


def _build(arm: ArmSpec, spec: Spec) -> _Built:
    shape = images.image_shape(arm.data)
    classes = len(images.dataset(arm.data.name).class_names)
    keras.utils.set_random_seed(0)  # what functions draw is the same at each planning
    model = arms.build(arm, shape, classes)
    factor, words = 1.0, ""
    if arm.match is not None:
        target = next(one for one in spec.arms if one.base == arm.match.arm and one.at == arm.at)
        other = images.image_shape(target.data)
        wanted = getattr(sizes_of(arms.build(target, other, classes)), arm.match.figure)
        where = f"arm '{arm.name}'"
        if wanted is None:
            raise StudyError(
                f"{where} has no match: the {NAMES[arm.match.figure]} of arm '{target.name}' are "
                "not known."
            )
        found = match(model, arm.match.figure, wanted, where)
        factor, words = found.factor, found.words
        model = scaled(model, factor)
    arms.compile_arm(model, arm.training, _images(arm))
    arms.check_fits(model, shape, classes, f"arm '{arm.name}'")
    for name in spec.measures:
        MEASURES[name].check(model, arm.data.canvas, arm.options)
    return _Built(factor, sizes_of(model), words, _described(model, arm))


def _described(model: Any, arm: ArmSpec) -> Mapping[str, Any]:
    """What makes a net and its training what they are."""
    compiled = ADDRESS.sub("", json.dumps(model.get_compile_config(), default=repr))
    described = {
        "layers": json.loads(model.to_json())["config"],
        "compiled": json.loads(compiled),
    }
    if arm.weights == KEPT:
        digest = hashlib.sha256()
        for weight in model.get_weights():
            digest.update(np.ascontiguousarray(weight).data)
        described["weights"] = digest.hexdigest()
    own = [layer for layer in model.layers if not type(layer).__module__.startswith("keras.")]
    from_script = arm.model.rpartition(":")[0].endswith(".py")
    if from_script and (own or OWN_CODE.search(compiled)):  # whose code JSON does not say
        described["script"] = Path(arm.model.rpartition(":")[0]).read_text(encoding="utf-8")
    if sources := sources_of(model):
        script = Path(arm.model.rpartition(":")[0]).stem if "script" in described else None
        helpers = {name: text for name, text in sources.items() if name != script}
        if helpers:  # the script is there already
            described["helpers"] = helpers
    return described


def _job(arm: ArmSpec, built: _Built, seed: int, spec: Spec) -> Job:
    training = asdict(arm.training)
    said = {
        "format": FORMAT,
        "model": built.described,
        "training": {**training, "epochs": arms.epochs_of(arm.training, _images(arm))},
        "data": {**asdict(arm.data), "name": images.fingerprint(arm.data.name)},
        "options": dict(arm.options),
        "measures": list(spec.measures),
        "seed": seed,
    }
    text = json.dumps(said, sort_keys=True, default=repr)
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    return Job(arm, built.factor, seed, spec.measures, digest)


def _images(arm: ArmSpec) -> int:
    return arm.data.train or len(images.dataset(arm.data.name).x_train)


def _work(arm: ArmSpec, sizes: Sizes) -> float:
    steps = arms.steps_of(arm.training, _images(arm))
    return float((sizes.multiply_adds or 0) * steps * arm.training.batch_size)
