"""``convmill train --report``: the page of the training that has just ended."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from convmill.circumstances import machine, versions
from convmill.cli.job import Job
from convmill.data import Dataset
from convmill.files import write_text_whole
from convmill.page.html import render
from convmill.page.training import Training, training_page
from convmill.plain_json import json_text
from convmill.runtime.host import thread_count
from convmill.user_arrays import class_names_for, images_for, labels_for, loss_name


def write_report(
    job: Job, model: Any, dataset: Dataset, result: Mapping[str, Any], path: Path
) -> None:
    """Writes the page, whole or not at all.

    Raises:
        Failure: it cannot be written; a file that was there is as it was.
    """
    how = _how(job, model, dataset, result)
    training = Training(
        model=model,
        data=dataset.name,
        x=images_for(model, dataset.x_test, dataset.name),
        y=labels_for(model, dataset.y_test, len(dataset.class_names)),
        class_names=class_names_for(model, dataset.class_names),
        training_images=result["training_images"],
        history=result["history"],
        scores=result["test"],
        how=how,
        raw=json_text({**result, "how": dict(how)}),
    )
    write_text_whole(path, render(training_page(training)))


def _how(
    job: Job, model: Any, dataset: Dataset, result: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    """Names and values; seconds are those of a clock on the wall."""
    size = "x".join(map(str, dataset.image_shape))
    held_back = len(dataset.x_train) - result["training_images"]
    validated = f", {held_back:,} held back to validate" if held_back else ""
    compiled = "" if result["compiled"] else ", on Keras' own path"
    return (
        ("Command", command(job, dataset.name)),
        ("Data", f"{dataset.name}, {size}: {result['training_images']:,} images to learn from"
         f"{validated}, {len(dataset.x_test):,} to test on"),
        ("Optimizer", _optimizer(model.optimizer)),
        ("Loss", loss_name(model)),
        ("Batch size", str(job.batch_size)),
        ("Epochs", str(job.epochs)),
        ("Seed", str(job.seed)),
        ("Threads", str(thread_count(job.threads))),
        ("Time", f"{result['training_seconds']:.2f} s for training{compiled}, "
         f"{result['compile_seconds']:.2f} s for compiling"),
        ("Versions", ", ".join(f"{name} {text}" for name, text in versions().items())),
        ("Machine", machine()),
        ("Date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    )  # fmt: skip


def command(job: Job, data_name: str) -> str:
    """What does the same once more, the seed and the data told even where they were not given."""
    words = ["convmill", "train", "--data", data_name]
    if job.recipe is not None:
        words += ["--recipe", job.recipe]
    if job.model is not None:
        words += ["--model", job.model]
    words += ["--epochs", str(job.epochs), "--batch-size", str(job.batch_size)]
    if job.optimizer is not None:
        words += ["--optimizer", job.optimizer]
    words += ["--seed", str(job.seed)]
    if job.threads is not None:
        words += ["--threads", str(job.threads)]
    return shlex.join([*words, *["--validate"] * job.validate])


def _optimizer(optimizer: Any) -> str:
    """Its class, and its learning rate, or the name of the schedule that gives it."""
    rate = optimizer.get_config().get("learning_rate")
    if isinstance(rate, dict):
        return f"{type(optimizer).__name__}, learning rate by {rate['class_name']}"
    return f"{type(optimizer).__name__}, learning rate {float(rate):g}"
