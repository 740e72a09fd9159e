"""The work behind ``convmill train``: load, build, fit, test, save."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import keras

import convmill
from convmill import data, presets, utils
from convmill.callbacks import Checkpoint
from convmill.cli import card
from convmill.cli.histories import write_history
from convmill.cli.job import Job
from convmill.cli.options import describe_scores, load_data
from convmill.cli.run_file import write_run
from convmill.cli.text import echo
from convmill.data import Dataset
from convmill.data.dataset import every_fifth_for_test
from convmill.failure import Failure, as_failures
from convmill.runtime import reserve
from convmill.train.save import save_model
from convmill.user_arrays import images_for, labels_for
from convmill.user_models import compile_model, model_for

DEFAULT = "notebook-fast"  # whose net is trained where nothing says another


class Clock(keras.callbacks.Callback):
    """Knows when ``fit`` began to train: what is compiled is compiled by then."""

    begin = math.nan  # seconds of time.perf_counter

    def on_train_begin(self, logs: Any = None) -> None:
        """Reads the clock."""
        self.begin = time.perf_counter()


def run(job: Job) -> dict[str, Any]:
    """Trains and tests a model, and saves it where ``job.out`` says; what ``--json`` prints.

    Raises:
        Failure, click.BadParameter: data or model cannot be used.
        OSError: the model cannot be saved; a file that was there is as it was.
        MemoryError: this process may not have as much as the training takes.
    """
    reserve.require_start()
    dataset = _load(job)
    utils.set_random_seed(job.seed)
    model = _model(job, dataset)
    job.say(f"Model: {model.count_params():,} parameters; seed {job.seed}")
    if job.out is None:
        job.say("The model will not be saved: there is no --out")
    if job.checkpoint is not None:
        write_run(job, dataset)
    trained = _fit(job, model, dataset)
    # Before anything else, so that nothing can take what the training has cost.
    if job.out is not None:
        with as_failures(f"{job.out}: "):
            save_model(model, job.out, {card.MEMBER: card.describe_data(dataset).to_json()})
        job.say(f"Saved {job.out}")
    if job.history is not None:
        write_history(trained["history"], job.history)
        job.say(f"Wrote {job.history}")
    result = {
        "data": dataset.name,
        "seed": job.seed,
        "parameters": model.count_params(),
        **trained,
        "test": _test(job, model, dataset),
        "saved": None if job.out is None else str(job.out),
    }
    if job.report is not None:
        from convmill.cli.training_report import write_report  # which draws: Matplotlib is slow

        write_report(job, model, dataset, result, job.report)
        job.say(f"Wrote {job.report}")
    return result


def _load(job: Job) -> Dataset:
    if job.data_name is None:
        dataset, fallback = data.load_mnist_or_digits()
        if fallback is not None:
            echo(fallback, err=True)
    else:
        dataset = load_data(job.data_name)
    if len(dataset.class_names) < 2:
        raise Failure(f"{dataset.source}: at least two classes are needed. Received: one.")
    size = "x".join(map(str, dataset.image_shape))
    job.say(
        f"Data: {dataset.name}, {len(dataset.x_train):,} images to learn from and "
        f"{len(dataset.x_test):,} to test on, {size}, {len(dataset.class_names)} classes"
    )
    return dataset


def _model(job: Job, dataset: Dataset) -> Any:
    input_shape, classes = dataset.input_shape, len(dataset.class_names)
    if job.model is None:
        preset = job.preset or presets.load(DEFAULT)
        model = preset.build(input_shape, classes)
    else:
        model = model_for(job.model, input_shape, classes)
    with as_failures():
        if not model.built:
            model.build((None, *input_shape))
        if job.preset is None:
            compile_model(model, job.optimizer)
        else:
            images = _images_to_train_on(job, dataset)
            job.preset.compile(model, images, batch_size=job.batch_size, epochs=job.epochs)
        return convmill.accelerate(model, threads=job.threads)


def _images_to_train_on(job: Job, dataset: Dataset) -> int:
    return len(every_fifth_for_test(dataset.y_train)[0] if job.validate else dataset.y_train)


def _fit(job: Job, model: Any, dataset: Dataset) -> dict[str, Any]:
    x = images_for(model, dataset.x_train, dataset.name)
    y = labels_for(model, dataset.y_train, len(dataset.class_names))
    validation = None
    if job.validate:
        train, held_back = every_fifth_for_test(dataset.y_train)
        job.say(f"Held back: {len(held_back):,} of these images, to test on after each epoch")
        validation = x[held_back], y[held_back]
        x, y = x[train], y[train]
    verbose = 0 if job.quiet else "auto"
    clock = Clock()
    kept = [] if job.checkpoint is None else [Checkpoint(job.checkpoint, job.every)]
    start = time.perf_counter()
    with as_failures(), _told_how_to_go_on(job):
        history = model.fit(
            x,
            y,
            epochs=job.epochs,
            batch_size=job.batch_size,
            validation_data=validation,
            verbose=verbose,
            callbacks=[clock, *kept],
        ).history
    end = time.perf_counter()
    explanation = convmill.explain(model)
    job.say(
        f"Training took {end - clock.begin:.2f} s, "
        f"compiling (for training and for testing) {explanation.compile_seconds:.2f} s"
    )
    return {
        "training_images": len(x),
        "history": history,
        "fit_seconds": end - start,
        "training_seconds": end - clock.begin,
        "compile_seconds": explanation.compile_seconds,
        "compiled": explanation.compiled,
    }


@contextlib.contextmanager
def _told_how_to_go_on(job: Job) -> Iterator[None]:
    """Notes it on the interrupt where Ctrl-C ends the training."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if job.checkpoint is not None:
            interrupt.add_note(f"'convmill resume {job.checkpoint}' goes on from here.")
        raise


def _test(job: Job, model: Any, dataset: Dataset) -> dict[str, float]:
    x = images_for(model, dataset.x_test, dataset.name)
    y = labels_for(model, dataset.y_test, len(dataset.class_names))
    with as_failures():
        scores: dict[str, float] = model.evaluate(x, y, verbose=0, return_dict=True)
    job.say(describe_scores(dataset.name, len(x), scores))
    return scores
