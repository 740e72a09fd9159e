"""The confusion matrix: its numbers counted by hand, and what is drawn of them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Annotation

from convmill.view.confusion_matrix import (
    confusion_counts,
    confusion_matrix,
    recalls,
    row_shares,
)
from tests.view.classifiers import echo, random_case, texts


@pytest.mark.parametrize("classes", [2, 3, 10, 40])
def test_counts_and_recalls_are_those_counted_one_by_one(classes):
    probabilities, labels = random_case(500, classes)
    predicted = probabilities.argmax(axis=1)
    counts = confusion_counts(labels, predicted, classes)
    pairs = list(zip(labels.tolist(), predicted.tolist(), strict=True))
    for true in range(classes):
        row = [pairs.count((true, guess)) for guess in range(classes)]
        assert counts[true].tolist() == row
        shares = [number / max(1, sum(row)) for number in row]
        np.testing.assert_allclose(row_shares(counts)[true], shares)
        if sum(row):
            assert recalls(counts)[true] == pytest.approx(row[true] / sum(row))
        else:
            assert np.isnan(recalls(counts)[true])


def test_true_classes_are_rows():
    assert confusion_counts([0, 0, 2], [1, 1, 2], 3).tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def written(picture) -> set[str]:
    return {text.replace("\N{NARROW NO-BREAK SPACE}", " ") for text in texts(picture)}


def test_what_is_written():
    x = np.eye(3, dtype=np.float32)[[0] * 7 + [1] * 3 + [1] * 20]
    y = [0] * 10 + [1] * 20
    picture = confusion_matrix(echo(3), x, y, ["cat", "dog", "5$ or $6"])
    found = written(picture)
    assert {"cat", "dog", "5$ or $6", "true", "predicted"} <= found
    assert {"7", "3", "20"} <= found  # cells
    assert {"70.0 %", "100.0 %", "\N{EN DASH}"} <= found  # recalls
    assert "Confusion matrix: 90.00 % of 30 images right" in found
    assert "mistakes, % of the true class's images" in found


def test_long_names_that_differ_at_their_ends_alone():
    names = [f"a long name of a class {index}" for index in range(3)]
    axes = confusion_matrix(echo(3), np.eye(3, dtype=np.float32), [0, 1, 2], names).axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [each.get_text() for each in labels] == [f"a long n…class {i}" for i in range(3)]


def test_one_image():
    picture = confusion_matrix(echo(2), np.eye(2, dtype=np.float32)[:1], [0])
    assert "Confusion matrix: 100.00 % of 1 image right" in written(picture)


def test_mistakes_have_a_scale_of_their_own():
    """99 of 100 are right; the one mistake is nevertheless at the end of the scale."""
    x = np.eye(2, dtype=np.float32)[[0] * 99 + [1]]
    picture = confusion_matrix(echo(2), x, np.zeros(100, int))
    diagonal, mistakes = picture.axes[0].images
    assert mistakes.get_clim() == (0, pytest.approx(1))
    assert mistakes.get_array().compressed().tolist() == pytest.approx([1])
    assert diagonal.get_array().count() == 2


def test_without_a_mistake_there_is_no_scale():
    x = np.eye(3, dtype=np.float32)
    picture = confusion_matrix(echo(3), x, [0, 1, 2])
    assert len(picture.axes) == 1
    assert "Confusion matrix: 100.00 % of 3 images right" in written(picture)


@pytest.mark.parametrize(("classes", "numbered", "recalled"), [(20, 1, 1), (21, 0, 1), (61, 0, 0)])
def test_many_classes_have_colours_alone(classes, numbered, recalled):
    x = np.eye(classes, dtype=np.float32).repeat(97, axis=0)
    picture = confusion_matrix(echo(classes), x, np.arange(classes).repeat(97))
    found = [text for text in texts(picture) if text == "97"]
    assert len(found) == numbered * 2 * classes  # in cells, and as sizes
    assert ("recall" in texts(picture)) == bool(recalled)


def test_class_names_that_are_too_many_are_thinned():
    picture = confusion_matrix(echo(130), np.eye(130, dtype=np.float32), np.arange(130))
    labels = [each.get_text() for each in picture.axes[0].get_yticklabels()]
    assert labels == [str(index) for index in range(0, 130, 3)]


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_drawn_on_either_ground(dark):
    x, y = random_case(50, 4)
    picture = confusion_matrix(echo(4), x, y, dark=dark)
    content, size = picture._repr_png_()
    assert content.startswith(b"\x89PNG")
    assert size["width"] == 700
    assert picture.get_facecolor()[0] == (
        pytest.approx(1) if not dark else pytest.approx(0.08, 0.1)
    )


def test_the_lines_at_the_borders_are_whole():
    axes = confusion_matrix(echo(3), np.eye(3, dtype=np.float32), [0, 1, 2]).axes[0]
    assert len(axes.collections) == 2
    for lines in axes.collections:
        assert len(lines.get_segments()) == 4
        assert not lines.get_clip_on()


@pytest.mark.parametrize("name", ["W" * 30, "a long name of a class", "c"])
def test_counts_fit_into_their_cells(name):
    x = np.eye(10, dtype=np.float32).repeat(2000, axis=0)
    names = [f"{name} {index}" for index in range(10)]
    picture = confusion_matrix(echo(10), x, np.arange(10).repeat(2000), names)
    picture.canvas.draw()
    axes = picture.axes[0]
    cell = axes.get_window_extent().width / 10
    counts = [text for text in axes.texts if not isinstance(text, Annotation)]
    assert len(counts) == 10
    assert all(text.get_window_extent().width < cell for text in counts)
    for label in axes.get_yticklabels():
        assert label.get_window_extent().x0 >= 0
