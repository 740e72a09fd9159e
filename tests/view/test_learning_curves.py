"""Learning curves: how histories are read, and what is drawn of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from convmill.view.histories import (
    Curve,
    chosen,
    common_epochs,
    higher_is_better,
    mean_curve,
    read_designs,
    read_runs,
)
from convmill.view.learning_curves import learning_curves
from tests.view.classifiers import texts

HISTORY = {
    "accuracy": [0.5, 0.7, 0.9],
    "loss": [1.0, 0.5, 0.25],
    "val_accuracy": [0.6, 0.8, 0.75],
    "val_loss": [0.9, 0.6, 0.7],
    "learning_rate": [0.1, 0.1, 0.01],
}
NAN = float("nan")


def line(axes, label: str):
    return next(each for each in axes.lines if each.get_label() == label)


# Reading ----------------------------------------------------------------------------------------


def test_a_history_is_read():
    (run,) = read_runs(HISTORY)
    assert run.names == ("loss", "accuracy", "learning_rate")
    assert run.training["loss"].values.tolist() == [1, 0.5, 0.25]
    assert run.validation["loss"].values.tolist() == [0.9, 0.6, 0.7]
    assert run.validation["loss"].epochs.tolist() == [1, 2, 3]
    assert run.last_epoch == 3
    assert not run.spread_evenly


@pytest.mark.parametrize(
    ("first", "epochs", "validation_freq", "measured"),
    [
        (1, 5, 5, [5]),
        (1, 10, 3, [3, 6, 9]),
        (2, 6, 2, [2, 4, 6]),
        (3, 6, 2, [4, 6]),
        (3, 11, 3, [3, 6, 9]),
        (1, 5, [1, 3, 5], [1, 3, 5]),
    ],
)
def test_what_fit_returns_is_read(first, epochs, validation_freq, measured):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2)), np.ones((8, 1))
    history = model.fit(
        x,
        y,
        validation_data=(x, y),
        initial_epoch=first - 1,
        epochs=epochs,
        validation_freq=validation_freq,
        verbose=0,
    )
    (run,) = read_runs(history)
    assert run.training["loss"].epochs.tolist() == list(range(first, epochs + 1))
    assert run.validation["loss"].epochs.tolist() == measured
    assert run.validation["loss"].values.tolist() == history.history["val_loss"]
    assert run.spread_evenly


@pytest.mark.parametrize("first", [1, 2, 3, 8])
def test_validation_is_placed_where_its_frequency_says(first):
    """Where the number of values leaves one choice of epochs it is found, else one of them."""
    for last in range(first + 1, first + 14):
        epochs = list(range(first, last + 1))
        by_step = [[each for each in epochs if each % step == 0] for step in range(2, last + 1)]
        for count in range(1, len(epochs)):
            values = {"loss": [0] * len(epochs), "val_loss": [0] * count}
            (run,) = read_runs({"epoch": [each - 1 for each in epochs], **values})
            found = run.validation["loss"].epochs.tolist()
            possible = [measured for measured in by_step if len(measured) == count]
            if possible:
                assert found in possible
            else:
                assert (found[0], found[-1], len(set(found))) == (first, last, count)
                assert np.ptp(np.diff(found)) <= 1


def test_epochs_that_were_not_measured_and_their_numbers():
    """As CSVLogger writes them: epochs from 0, and gaps in what was not measured."""
    (run,) = read_runs({"epoch": [4, 5, 6], "loss": [3, 2, 1], "val_loss": [None, 2.5, None]})
    assert run.training["loss"].epochs.tolist() == [5, 6, 7]
    assert run.validation["loss"].epochs.tolist() == [6]


def test_epochs_that_do_not_rise_are_counted_anew():
    (run,) = read_runs({"epoch": [0, 1, 0, 1], "loss": [4, 3, 2, 1]})
    assert run.training["loss"].epochs.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ({}, "Received: nothing"),
        ([], "an empty list"),
        (3, "Received: int"),
        ("run.json", "Received: str"),
        ({"loss": []}, "a list of numbers"),
        ({"loss": "abc"}, "Received: loss"),
        ({"loss": [None, None]}, "a list of numbers"),
        ([{"loss": [1, 2]}, {"loss": [None, None]}], "a list of numbers"),
        ({"loss": [1, 2, 3], "accuracy": [1]}, "accuracy for each of 3 epochs. Received: 1"),
    ],
)
def test_what_is_no_history(history, said):
    with pytest.raises(ValueError, match=said):
        read_runs(history)


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ValueError, match=r"Received: 'acuracy'\. Did you mean 'accuracy'\?"):
        chosen(read_runs(HISTORY), "acuracy")
    assert chosen(read_runs(HISTORY), None) == ("loss", "accuracy")
    assert chosen(read_runs(HISTORY), "val_loss") == ("loss",)
    assert chosen(read_runs(HISTORY), "learning_rate") == ("learning_rate",)


def test_which_metrics_should_rise():
    assert all(
        map(higher_is_better, ["accuracy", "sparse_categorical_accuracy", "AUC", "f1_score"])
    )
    assert all(map(higher_is_better, ["mean_io_u", "binary_io_u", "io_u_1", "pearson_correlation"]))
    assert all(map(higher_is_better, ["true_positives", "true_negatives"]))
    assert not any(map(higher_is_better, ["loss", "mae", "false_positives", "head_accuracy_loss"]))


def test_the_best_epoch():
    curve = Curve(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, NAN, 1]))
    assert curve.best(higher=False) == (2, 1)
    assert curve.best(higher=True) == (1, 2)
    assert curve.diverged_in == 3
    assert Curve(np.array([1.0]), np.array([NAN])).best(higher=True) is None


def test_means_cover_what_all_runs_have():
    long = Curve(np.array([1.0, 2, 3]), np.array([3.0, 2, 1]))
    short = Curve(np.array([1.0, 2]), np.array([5.0, 6]))
    mean = mean_curve([long, short])
    assert mean.epochs.tolist() == [1, 2]
    assert mean.values.tolist() == [4, 4]


def test_common_epochs_are_those_of_both():
    first = Curve(np.array([1.0, 2, 3]), np.array([3.0, 2, 1]))
    second = Curve(np.array([2.0, 3, 4]), np.array([7.0, 8, 9]))
    assert [each.tolist() for each in common_epochs(first, second)] == [[2, 3], [2, 1], [7, 8]]


# Drawing ----------------------------------------------------------------------------------------


def test_training_and_validation_stand_side_by_side():
    picture = learning_curves(HISTORY)
    loss, accuracy = picture.axes
    assert [axes.get_ylabel() for axes in picture.axes] == ["loss", "accuracy"]
    assert line(loss, "training").get_ydata().tolist() == HISTORY["loss"]
    assert line(accuracy, "validation").get_ydata().tolist() == HISTORY["val_accuracy"]
    assert "best: 0.600 in epoch 2\ngap in epoch 3: +0.45" in texts(picture)
    assert "best: 0.800 in epoch 2\ngap in epoch 3: \N{MINUS SIGN}0.15" in texts(picture)
    assert "Learning curves: 3 epochs" in texts(picture)
    ring = next(each for each in loss.lines if each.get_marker() == "o")
    assert (ring.get_xdata().tolist(), ring.get_ydata().tolist()) == ([2], [0.6])


def test_the_gap_is_shaded():
    loss = learning_curves(HISTORY).axes[0]
    (shade,) = [each for each in loss.collections if isinstance(each, PolyCollection)]
    corners = shade.get_paths()[0].vertices
    for epoch in (1, 2, 3):
        ends = {HISTORY["loss"][epoch - 1], HISTORY["val_loss"][epoch - 1]}
        assert set(corners[corners[:, 0] == epoch][:, 1]) >= ends


@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_the_gap_is_open_where_a_value_is_not_finite(name):
    history = {"loss": [5.0, 4, 3, 2, 1], "val_loss": [6.0, 5, 4, 3, 2]}
    history[name][2] = NAN
    axes = learning_curves(history).axes[0]
    (shade,) = [each for each in axes.collections if isinstance(each, PolyCollection)]
    spans = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in shade.get_paths()]
    assert spans == [(1, 2), (4, 5)]
    assert "gap in epoch 5: +1.0" in axes.get_title(loc="left")


def test_one_metric_alone():
    picture = learning_curves(HISTORY, metric="accuracy", dark=True)
    assert [axes.get_ylabel() for axes in picture.axes] == ["accuracy"]


def test_without_validation_it_says_so():
    picture = learning_curves({"loss": [2, 1], "accuracy": [0.5, 0.6]})
    assert any("No validation data" in text for text in texts(picture))
    assert all(axes.get_title(loc="left") == "" for axes in picture.axes)


def test_one_epoch_is_a_dot():
    picture = learning_curves({"loss": [2.0], "val_loss": [3.0]})
    axes = picture.axes[0]
    assert line(axes, "training").get_marker() == "."
    picture.canvas.draw()
    assert [tick for tick in axes.get_xticks() if tick != round(tick)] == []
    assert "gap in epoch 1: +1.0" in axes.get_title(loc="left")
    assert "Learning curves: 1 epoch" in texts(picture)


def test_divergence_is_said():
    picture = learning_curves(
        {"loss": [2.0, 5e5, NAN, NAN], "val_loss": [2.0, 4e5, float("inf"), NAN]}
    )
    axes = picture.axes[0]
    assert "diverged in epoch 3" in axes.get_title(loc="left")
    assert "best: 2.00 in epoch 1" in axes.get_title(loc="left")
    assert "gap in epoch 2: \N{MINUS SIGN}100000" in axes.get_title(loc="left")
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "loss (logarithmic)"
    picture.canvas.draw()


def test_nothing_but_nan():
    picture = learning_curves({"loss": [NAN, NAN], "val_loss": [NAN, NAN]})
    assert "no finite value" in texts(picture)
    assert picture.axes[0].get_title(loc="left") == "diverged in epoch 1"


def test_several_runs_are_thin_lines_and_their_mean():
    other = {"loss": [3.0, 1.5], "val_loss": [1.1, 1.0]}
    picture = learning_curves([{name: HISTORY[name] for name in ("loss", "val_loss")}, other])
    axes = picture.axes[0]
    mean = line(axes, "training, mean of 2")
    assert mean.get_ydata().tolist() == [2, 1]
    thin = [each.get_ydata().tolist() for each in axes.lines if each.get_linewidth() < 1]
    assert HISTORY["loss"] in thin
    assert other["val_loss"] in thin
    assert "Learning curves: 2 runs of up to 3 epochs" in texts(picture)
    assert "gap in epoch 2: \N{MINUS SIGN}0.20" in axes.get_title(loc="left")


def test_runs_of_several_designs_are_not_averaged():
    runs = [{"loss": [2.0, 1.0], "val_loss": [3.0, value]} for value in (1.0, 2.0, 0.5)]
    picture = learning_curves(runs, names=["one", "two", "one"])
    (axes,) = picture.axes
    solid = {
        tuple(each.get_ydata())
        for each in axes.lines
        if each.get_linestyle() == "-" and each.get_linewidth() > 1
    }
    assert solid == {(3.0, 0.75), (3.0, 2.0)}  # of validation: the mean of one, and two
    assert axes.get_title(loc="left") == "one: best 0.750 in epoch 2\ntwo: best 2.00 in epoch 2"
    (legend,) = picture.legends
    written = [text.get_text() for text in legend.get_texts()]
    assert written == ["one, mean of 2", "two", "training", "validation"]
    assert "Learning curves: 2 designs, 3 runs of up to 2 epochs" in texts(picture)
    assert not any("Gap" in text for text in texts(picture))
    title, above = picture._suptitle.get_window_extent(), axes.title.get_window_extent()
    assert above.y1 < legend.get_window_extent().y0 < legend.get_window_extent().y1 < title.y0


def fitted_history(*layers, name):
    model = keras.Sequential([keras.Input((2,)), *layers], name=name)
    model.compile("sgd", "mse")
    return model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)


def test_what_fit_returns_goes_by_its_model():
    small = [fitted_history(keras.layers.Dense(1), name=name) for name in ("small", "again")]
    wide = fitted_history(keras.layers.Dense(9), keras.layers.Dense(1), name="wide")
    assert [*read_designs(small)] == [""]
    designs = read_designs([*small, wide])
    assert {name: len(runs) for name, runs in designs.items()} == {"small": 2, "wide": 1}
    wide.model.name = "small"
    assert [*read_designs([*small, wide])] == ["small (1)", "small (2)"]
    assert [*read_designs([small[0].history, wide])] == [""]  # one of them is not known


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_other_than_a_name_for_each_run(names):
    with pytest.raises(ValueError, match=r"a name for each run, 2\. Received: names="):
        learning_curves([HISTORY, HISTORY], names=names)


def test_one_text_is_no_list_of_names():
    with pytest.raises(TypeError, match="names must be a list of str"):
        learning_curves([HISTORY, HISTORY], names="ab")


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.037371, "0.0374"), (0.98942, "0.989"), (0.9996, "0.9996"), (0.99996, "0.99996"),
     (1.0, "1.00"), (1234.5, "1234"), (0.9999999999, "1.000000"), (-0.99996, "\N{MINUS SIGN}1.00")],
)  # fmt: skip
def test_as_few_digits_as_tell_it(value, said):
    axes = learning_curves({"loss": [value], "val_loss": [value]}).axes[0]
    assert axes.get_title(loc="left").startswith(f"best: {said} in epoch 1\n")


def test_a_run_that_diverged_among_others():
    picture = learning_curves([{"loss": [1.0, 0.5]}, {"loss": [1.0, NAN]}])
    assert picture.axes[0].get_title(loc="left") == "a run diverged in epoch 2"


def test_what_is_no_number_is_left_out_and_named():
    picture = learning_curves({"loss": [1.0, 0.5], "f1_score": [[0.1, 0.2], [0.3, 0.4]]})
    assert [axes.get_ylabel() for axes in picture.axes] == ["loss"]
    assert any("not one number an epoch: f1_score" in text for text in texts(picture))


def test_an_odd_number_of_metrics_leaves_no_empty_axes():
    picture = learning_curves({name: [1.0, 2.0] for name in ("loss", "mae", "mse")})
    assert [axes.get_ylabel() for axes in picture.axes] == ["loss", "mae", "mse"]


@pytest.mark.parametrize("value", [10**401, 1e308, -1e308, float("inf")])
def test_what_is_too_large_counts_as_not_finite(value):
    picture = learning_curves({"loss": [1.0, value], "val_loss": [2.0, 1e-300]})
    assert "diverged in epoch 2" in picture.axes[0].get_title(loc="left")
    picture.canvas.draw()


def test_a_figure_that_was_never_measured_is_left_out():
    picture = learning_curves({"loss": [1.0, 0.5], "val_loss": [None, None]})
    assert any("not one number an epoch: val_loss" in text for text in texts(picture))


def test_more_figures_than_fit_are_counted():
    picture = learning_curves({f"figure_{index}": [1.0, 2.0] for index in range(26)})
    assert len(picture.axes) == 24
    assert any("2 more figures are not drawn" in text for text in texts(picture))


def test_dollar_signs_and_a_logarithmic_axis(tmp_path):
    """Matplotlib would read "$x_$" as a formula, and fail."""
    picture = learning_curves({"a$x_$b": [1.0, 5e3]})
    picture.savefig(tmp_path / "a.png")
    assert picture.axes[0].get_ylabel() == "a$x_$b (logarithmic)"
    ticks = [tick.get_text() for tick in picture.axes[0].get_yticklabels(which="both")]
    assert {"1", "10", "100", "1000"} <= set(ticks)
    assert "$" not in "".join(ticks)


@pytest.mark.parametrize("narrow", [False, True])
def test_the_legend_of_long_names_fits_below_the_title(narrow):
    history = {"loss": [2.0, 1.0]}
    names = [f"no pooling, same parameters {number}" for number in range(6)] * 2
    picture = learning_curves([history] * 12, names=names, narrow=narrow)
    picture.canvas.draw()
    (legend,) = picture.legends
    box, title = legend.get_window_extent(), picture._suptitle.get_window_extent()
    assert box.x1 < picture.bbox.x1
    assert box.y1 < title.y0
    assert box.y0 > picture.axes[0].get_window_extent().y1
