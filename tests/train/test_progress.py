"""Progress: what is drawn on a terminal, and the plain lines anywhere else."""

import io
import os
import re
import signal

import keras
import pytest

from convmill import models
from convmill.callbacks import Checkpoint
from convmill.train import progress
from convmill.train.progress import Bar, State, clock, live, summary, wrapped
from tests.train.nets import compiled, convnet, images, seeded_fit

X, Y = images(32)
ASCII = Bar("=", ".")
FIGURES = {"loss": 0.05123, "accuracy": 0.98412}
LOGS = FIGURES | {"val_accuracy": 0.97, "val_loss": 0.07}


def state(images=30_000, total=60_000, seconds=2.0, figures=FIGURES):
    return State("Epoch 2/5", images, total, seconds, figures)


def test_a_live_line_on_a_wide_terminal():
    assert live(state(), 100, ASCII) == (
        "Epoch 2/5 ============............   50%  loss 0.0512  accuracy 0.9841  0:02  "
        "15,000 images/s"
    )


@pytest.mark.parametrize("width", range(1, 130))
def test_a_live_line_never_leaves_the_terminal(width):
    line = live(state(), width, ASCII)
    assert len(line) <= width
    assert "\n" not in line


def test_a_live_line_on_forty_columns_keeps_what_matters():
    line = live(state(), 39, ASCII)
    assert line.startswith("Epoch 2/5 ")
    assert "50%" in line
    assert "loss 0.0512" in line


def test_a_live_line_where_the_number_of_images_is_not_known():
    assert live(state(total=None), 80, ASCII) == (
        "Epoch 2/5  loss 0.0512  accuracy 0.9841  15,000 images/s"
    )


def test_a_live_line_does_not_count_what_an_earlier_process_has_done():
    gone_on = State("Epoch 2/5", 45_000, 60_000, 2.0, FIGURES, before=30_000)
    assert live(gone_on, 100, ASCII) == (
        "Epoch 2/5 ==================......   75%  loss 0.0512  accuracy 0.9841  0:02  "
        "7,500 images/s"
    )
    nothing_yet = State("Epoch 2/5", 30_000, 60_000, 2.0, {}, before=30_000)
    assert live(nothing_yet, 60, ASCII) == "Epoch 2/5 ============............   50%  0 images/s"


@pytest.mark.parametrize(("share", "bar"), [(0, "...."), (0.5, "==.."), (1, "====")])
def test_bars(share, bar):
    assert ASCII.draw(share, 4) == bar


def test_colours_of_a_bar_end_with_it():
    assert Bar("=", ".", "32").draw(0.5, 4) == "\x1b[32m==\x1b[0m.."


def test_a_summary_begins_with_what_is_trained_on():
    assert summary(LOGS, 60_000, 4.0) == [
        "loss 0.0512",
        "accuracy 0.9841",
        "val_loss 0.0700",
        "val_accuracy 0.9700",
        "15,000 images/s",
        "4.0 s",
    ]


def test_a_summary_is_wrapped_on_a_narrow_terminal():
    lines = wrapped("Epoch 2/5", summary(LOGS, 60_000, 4.0), 39).split("\n")
    assert all(len(line) <= 39 for line in lines)
    assert " ".join(" ".join(lines).split()) == (
        "Epoch 2/5 loss 0.0512 accuracy 0.9841 val_loss 0.0700 val_accuracy 0.9700 "
        "15,000 images/s 4.0 s"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (7, "0:07"), (61, "1:01"), (3723, "1:02:03")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


def shown(monkeypatch, stream, **arguments):
    """What a fit with validation writes to ``stream`` as standard output."""
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr(progress, "DRAW_SECONDS", 0.0)
    model = compiled(convnet(models.Sequential))
    arguments = {"validation_data": (X, Y), "epochs": 2, "verbose": "auto"} | arguments
    seeded_fit(model, X, Y, **arguments)
    return stream.getvalue()


def test_a_terminal_sees_the_line_grow_and_then_the_summary(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(monkeypatch, Terminal())
    assert "\r" in text
    assert "━" in text
    lines = text.split("\n")
    assert len(lines) == 3
    for epoch, line in enumerate(lines[:2], 1):
        last = line.rpartition("\r\x1b[K")[2]
        assert re.fullmatch(
            rf"Epoch {epoch}/2  loss \d\.\d+  accuracy \d\.\d+  val_loss \d\.\d+  "
            r"val_accuracy \d\.\d+  [\d,]+ images/s  \d+\.\d s",
            last,
        )


def test_no_color_leaves_the_colours_out(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert "\x1b[32m" in shown(monkeypatch, Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in shown(monkeypatch, Terminal())


def test_a_terminal_of_forty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(monkeypatch, Terminal()).replace("\x1b[K", "")
    assert max(len(line) for line in re.split("[\r\n]", text)) < 40


def test_a_terminal_that_knows_ascii_alone(monkeypatch):
    class Old(Terminal):
        encoding = "ascii"

    monkeypatch.setenv("COLUMNS", "120")
    assert shown(monkeypatch, Old()).isascii()


@pytest.mark.parametrize("why", ["no terminal", "dumb terminal"])
def test_elsewhere_each_epoch_is_one_plain_line(why, monkeypatch):
    stream = io.StringIO() if why == "no terminal" else Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "dumb" if why == "dumb terminal" else "xterm")
    seeded_fit(compiled(convnet(models.Sequential)), X, Y, epochs=2, verbose=1)
    text = stream.getvalue()
    assert text.isprintable() or text.replace("\n", "").isprintable()
    assert re.fullmatch(
        r"(Epoch \d/2: loss \d\.\d+, accuracy \d\.\d+, [\d,]+ images/s, \d+\.\d s\n){2}", text
    )


def test_verbose_two_gives_keras_lines(monkeypatch):
    """Those of callbacks too, in their places, and what callbacks add to the logs."""
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=9.0, verbose=1)
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print("told", epoch))
    arguments = {"callbacks": [plateau, told], "epochs": 3, "verbose": 2}
    text = shown(monkeypatch, io.StringIO(), **arguments)
    theirs = io.StringIO()
    monkeypatch.setattr("sys.stdout", theirs)
    arguments["validation_data"] = X, Y
    seeded_fit(compiled(convnet(keras.Sequential)), X, Y, **arguments)
    assert "learning_rate" in text

    def without_times(text):
        return re.sub(r"\d+(s|ms|us)", "TIME", text)

    assert without_times(text) == without_times(theirs.getvalue())


def test_a_callback_writes_on_a_line_of_its_own(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print("told", epoch))
    lines = shown(monkeypatch, Terminal(), callbacks=[told]).split("\n")
    assert [line.rpartition("\r\x1b[K")[2] for line in lines[::2]] == ["told 0", "told 1", ""]


@pytest.mark.parametrize("verbose", [0, False])
def test_silence(verbose, monkeypatch):
    assert shown(monkeypatch, Terminal(), verbose=verbose) == ""


def test_without_standard_output(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    seeded_fit(compiled(convnet(models.Sequential)), X, Y, verbose=1)


def test_a_progress_bar_of_the_user_s_own_is_the_only_one(monkeypatch):
    text = shown(monkeypatch, io.StringIO(), callbacks=[keras.callbacks.ProgbarLogger()])
    assert "images/s" not in text
    assert "step" in text


def test_evaluate_and_predict_show_themselves_too(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    model = compiled(convnet(models.Sequential))
    model.evaluate(X, Y)
    model.predict(X)
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"Evaluate: loss .*, accuracy .* images/s, .* s", first)
    assert re.fullmatch(r"Predict: [\d,]+ images/s, .* s", second)


class Stop(keras.callbacks.Callback):
    """Ctrl-C behind the third batch of the first epoch, and then in no other run."""

    def __init__(self):
        super().__init__()
        self.is_first = True

    def on_train_batch_end(self, batch, logs=None):
        if self.is_first and batch == 2:
            self.stop()

    def stop(self):
        self.is_first = False
        signal.raise_signal(signal.SIGINT)


class StopInValidation(Stop):
    """The same, where the steps of the epoch are all done."""

    on_train_batch_end = keras.callbacks.Callback.on_train_batch_end

    def on_test_begin(self, logs=None):
        if self.is_first:
            self.stop()


def gone_on(monkeypatch, folder, stop, **arguments):
    """What a run writes that goes on with a stopped one, each epoch in two seconds."""
    arguments |= {"batch_size": 8, "callbacks": [stop, Checkpoint(folder, every="1 steps")]}
    with pytest.raises(KeyboardInterrupt):
        shown(monkeypatch, io.StringIO(), **arguments)
    monkeypatch.setattr(progress._Timed, "passed", 2.0)
    return shown(monkeypatch, io.StringIO(), **arguments).splitlines()


def test_images_of_an_earlier_process_are_not_in_the_rate(monkeypatch, tmp_path, capsys):
    first, second = gone_on(monkeypatch, tmp_path, Stop())
    assert "going on behind epoch 1, step 3" in capsys.readouterr().err
    assert first.endswith(", 4 images/s, 2.0 s")
    assert second.endswith(", 16 images/s, 2.0 s")


def test_steps_of_an_earlier_process_are_not_in_the_time_of_one(monkeypatch, tmp_path):
    lines = gone_on(monkeypatch, tmp_path, Stop(), verbose=2)
    assert lines[1].startswith("4/4 - 2s - 2s/step - ")
    assert lines[3].startswith("4/4 - 2s - 500ms/step - ")


def test_no_rate_where_an_earlier_process_has_done_all_steps(monkeypatch, tmp_path):
    first, second = gone_on(monkeypatch, tmp_path, StopInValidation())
    assert re.fullmatch(r"Epoch 1/2: .* val_accuracy \d\.\d+, 2\.0 s", first)
    assert second.endswith(", 16 images/s, 2.0 s")


def test_an_interrupted_line_is_ended(monkeypatch):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        shown(monkeypatch, stream, callbacks=[Interrupt()])
    assert stream.getvalue().endswith("\n")


def test_logging_in_the_place_of_printing(monkeypatch, caplog):
    keras.config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", "convmill"):
            assert shown(monkeypatch, Terminal()) == ""
    finally:
        keras.config.enable_interactive_logging()
    assert len(caplog.messages) == 2
    assert os.linesep not in caplog.messages[0]
