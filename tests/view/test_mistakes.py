"""The most wrong and the least sure images: their order, and what stands with each."""

from __future__ import annotations

from itertools import pairwise

import keras
import numpy as np
import pytest

from convmill.view.mistakes import least_sure, mistakes, rank_least_sure, rank_mistakes
from tests.view.classifiers import drawn, echo, echo_images, random_case, texts

SPACE = "\N{NARROW NO-BREAK SPACE}"
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],  # right
        [0.5, 0.1, 0.4],  # wrong: 1 has 0.1, said with 0.5
        [0.9, 0.05, 0.05],  # wrong: 2 has 0.05
        [0.3, 0.1, 0.6],  # wrong: 1 has 0.1, said with 0.6, so before the second
        [0.34, 0.33, 0.33],  # right
    ],
    np.float32,
)
LABELS = np.array([0, 1, 2, 1, 0])


def test_the_most_wrong_by_hand():
    assert rank_mistakes(PROBABILITIES, LABELS).tolist() == [2, 3, 1]


def test_the_least_sure_by_hand():
    assert rank_least_sure(PROBABILITIES).tolist() == [4, 1, 3, 0, 2]


@pytest.mark.parametrize("classes", [2, 7])
def test_the_most_wrong_add_most_to_the_loss(classes):
    probabilities, labels = random_case(300, classes)
    ranked = rank_mistakes(probabilities, labels)
    losses = -np.log(probabilities[ranked, labels[ranked]])
    assert np.all(np.diff(losses) <= 0)
    assert set(ranked) == set(np.flatnonzero(probabilities.argmax(axis=1) != labels))


def test_margins_rise():
    probabilities, _ = random_case(300, 7)
    ordered = np.sort(probabilities, axis=1)
    margins = (ordered[:, -1] - ordered[:, -2])[rank_least_sure(probabilities)]
    assert len(margins) == 300
    assert np.all(np.diff(margins) >= 0)


def shown_images(picture) -> list[np.ndarray]:
    return [axes.images[0].get_array() for axes in picture.axes if axes.images]


def test_each_mistake_with_its_classes():
    x = drawn(PROBABILITIES, 4)
    picture = mistakes(echo_images(4, 3), x, LABELS, ["ant", "bee", "cow"])
    for image, index in zip(shown_images(picture), [2, 3, 1], strict=True):
        np.testing.assert_array_equal(image, x[index, ..., 0])
    found = [text.replace(SPACE, " ") for text in texts(picture)]
    assert "Mistakes: all 3 in 5 images" in found
    for above, below in [
        ("ant  90.0 %", "is cow  5.0 %\n#2"),
        ("cow  60.0 %", "is bee  10.0 %\n#3"),
        ("ant  50.0 %", "is bee  10.0 %\n#1"),
    ]:
        assert above in found
        assert below in found


def test_long_names_have_lines_of_their_own():
    names = ["a very long name of a class", "b", "c"]
    picture = mistakes(echo_images(4, 3), drawn(PROBABILITIES, 4), LABELS, names, most=1)
    found = [text.replace(SPACE, " ") for text in texts(picture)]
    assert "a very long n\N{HORIZONTAL ELLIPSIS}\n90.0 %" in found
    assert "is c\n5.0 %\n#2" in found
    assert "Mistakes: the 1 most wrong of 3 in 5 images" in found


def test_the_least_sure_with_two_classes():
    x = drawn(PROBABILITIES, 4)
    picture = least_sure(echo_images(4, 3), x, LABELS, most=2)
    for image, index in zip(shown_images(picture), [4, 1], strict=True):
        np.testing.assert_array_equal(image, x[index, ..., 0])
    found = [text.replace(SPACE, " ") for text in texts(picture)]
    assert "The 2 least sure of 5 images; mistakes: 1" in found
    assert "0  50.0 %\n2  40.0 %" in found
    assert "is 1\n#1" in found


@pytest.mark.parametrize(("right", "said"), [([0, 4], "2 images"), ([0], "1 image")])
def test_without_mistakes(right, said):
    picture = mistakes(echo_images(4, 3), drawn(PROBABILITIES[right], 4), LABELS[right])
    assert f"No mistakes in {said}" in texts(picture)
    assert shown_images(picture) == []


def test_one_image():
    x = drawn(PROBABILITIES[[1]], 4)
    assert "Mistakes: all 1 in 1 image" in texts(mistakes(echo_images(4, 3), x, LABELS[[1]]))
    picture = least_sure(echo_images(4, 3), x, LABELS[[1]])
    assert "The 1 least sure of 1 image; mistakes: 1" in texts(picture)


def test_long_names_that_differ_at_their_ends_alone():
    names = [f"a long name of a class {index}" for index in range(3)]
    picture = mistakes(echo_images(4, 3), drawn(PROBABILITIES, 4), LABELS, names, most=1)
    found = [text.replace(SPACE, " ") for text in texts(picture)]
    assert "a long…lass 0\n90.0 %" in found
    assert "is a long…lass 2\n5.0 %\n#2" in found


@pytest.mark.parametrize(("channels", "said"), [(1, False), (3, False), (4, True)])
def test_channels_that_are_no_colours(channels, said):
    flat = [keras.Input((4, 4, channels)), keras.layers.Flatten(), keras.layers.Dense(3)]
    x, y = np.random.default_rng(0).random((9, 4, 4, channels)), np.arange(9) % 3
    for picture in (mistakes, least_sure):
        found = "\n".join(texts(picture(keras.Sequential(flat), x, y)))
        assert ("Drawn of each image: the mean of its 4 channels." in found) == said


def test_pixels_in_a_row_are_drawn_as_a_square():
    x = np.zeros((2, 9), np.float32)
    x[:, 3] = 1
    picture = mistakes(echo(9), x, [0, 1], dark=True)
    assert [image.shape for image in shown_images(picture)] == [(3, 3), (3, 3)]


def test_what_is_no_image():
    with pytest.raises(ValueError, match=r"must hold images.*x of shape \(5, 3\)"):
        mistakes(echo(3), PROBABILITIES, LABELS)


@pytest.mark.parametrize("most", [0, -1, 121, 1.5, True, None])
def test_how_many_is_checked(most):
    for picture in (mistakes, least_sure):
        with pytest.raises(ValueError, match=f"from 1 to 120. Received: most={most}"):
            picture(echo_images(4, 3), drawn(PROBABILITIES, 4), LABELS, most=most)


@pytest.mark.parametrize(
    "names",
    [
        ["W" * 30, "a very long name of a class", "b"],
        ["WWWWWWW", "MMMMMMM", "WMWMWMW"],
        ["0", "1", "2"],
        [f"{'M' * 20} {index}" for index in range(3)],
    ],
)
@pytest.mark.parametrize("picture", [mistakes, least_sure])
def test_no_text_runs_into_its_neighbour(picture, names):
    drawn_one = picture(
        echo_images(4, 3), drawn(PROBABILITIES, 4).repeat(6, axis=0), LABELS.repeat(6), names
    )
    drawn_one.canvas.draw()
    by_row: dict[float, list[tuple[float, float]]] = {}
    for axes in drawn_one.axes:
        if axes.images:
            for text in (axes.title, axes.xaxis.label):
                box = text.get_window_extent()
                row = round(axes.get_position().y0, 3)
                by_row.setdefault(row, []).append((box.x0, box.x1))
    for boxes in by_row.values():
        above, below = sorted(boxes[::2]), sorted(boxes[1::2])
        for line in (above, below):
            assert line[0][0] >= 0
            assert line[-1][1] <= 700
            assert all(end < start for (_, end), (start, _) in pairwise(line))


def test_mistakes_among_the_least_sure_are_framed():
    picture = least_sure(echo_images(4, 3), drawn(PROBABILITIES, 4), LABELS)
    widths = [axes.spines["left"].get_linewidth() for axes in picture.axes if axes.images]
    order = [4, 1, 3, 0, 2]
    wrong = [index in (1, 2, 3) for index in order]
    assert [width > 1 for width in widths] == wrong
    assert any("Framed: mistakes." in text for text in texts(picture))
    right = least_sure(echo_images(4, 3), drawn(PROBABILITIES[[0, 4]], 4), LABELS[[0, 4]])
    assert not any("Framed" in text for text in texts(right))
