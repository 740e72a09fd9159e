"""Rules on how much a unit sees and how many weights there are to learn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import attrgetter

from convmill.design.fields import Field
from convmill.design.places import Joint, joints, places
from convmill.design.steps import Step
from convmill.inspection.findings.finding import Facts, Finding, images_in_words
from convmill.inspection.numbers import count, percent, times
from convmill.plan.reads import Flat, Spans

SMALL_SIDE = 0.5  # of the image's side
WIDE_MAP = 10_000  # coefficients
USUAL_UNITS = 512  # of a dense layer that may follow
MANY_PARAMETERS = 50  # for each training image
ENLARGING = ("UpSampling2D", "Conv2DTranspose")  # where they tell their spans and where not
LEFT_BY_POOLING = {"average": "the mean", "max": "the maximum"}


def small_field(facts: Facts) -> Iterator[Finding]:
    """Units of the last feature map see under half of the image's height or width.

    It is about maps from which a whole image is judged: what is behind them reads all of their
    places, or is still to come. Nets that give images may well look at small pieces.
    The argument is that of Chollet (Deep Learning with Python, 2nd edition, 2021, section 8.1.2:
    no digit is recognised through windows of 7x7 pixels); half of the side is our threshold. How
    fields grow: Araujo, Norris and Sim (Distill, 2019).
    """
    for features in facts.last_maps:
        joined = joints(facts.design, features)
        if _judges_images(facts, features, joined):
            yield from _small_fields(facts, features, joined)


def _small_fields(facts: Facts, features: Step, joined: set[Joint]) -> Iterator[Finding]:
    """A finding for each input of which a unit of ``features`` sees little."""
    for image, field in facts.local_fields[features.name].items():
        shape = facts.design.step(image).shape
        if len(shape) != 3 or not field.known or not _is_small(field, shape[:2]):
            continue
        seen = f"{times((field.rows.size, field.columns.size))} of {times(shape[:2])} pixels"
        unit = f"a unit of {features.name}, the last feature map,"
        name = "the image" if len(facts.design.inputs) == 1 else image
        gated = field.share != facts.fields[features.name][image].share
        yield Finding(
            layer=features.name,
            number=field.share,
            unit="share of the image's pixels",
            what=f"{seen} are the local field of {unit} on {name}: more reaches it only through "
            "values that are the same for all places."
            if gated
            else f"{seen} are all that {unit} sees of {name}.",
            why=_why_small(joined),
            remedy="Pool or stride between the convolutions: each window behind spans more "
            "pixels. More layers, larger kernels or dilation widen the field too.",
            threshold="under half of the image's height or width (our choice)",
            source="Chollet 2021, Deep Learning with Python, section 8.1.2; Araujo et al. "
            "2019, Distill",
        )


def _why_small(joined: set[Joint]) -> str:
    """What becomes of patterns that are larger than a field, by what is behind the map."""
    if "weights" in joined or not joined:
        return (
            "No convolution can know a pattern that is larger. A dense layer behind it can "
            "still put the pieces together, but learns that for each place anew."
        )
    left = " and ".join(word for kind, word in LEFT_BY_POOLING.items() if kind in joined)
    return (
        "No convolution can know a pattern that is larger, and nothing behind it puts the pieces "
        f"together: global pooling leaves only {left} of each channel over all of them, not where "
        "they lie."
    )


def _is_small(field: Field, image: tuple[int, ...]) -> bool:
    axes = zip((field.rows, field.columns), image, strict=True)
    return any(axis.size < SMALL_SIDE * side for axis, side in axes)


def _judges_images(facts: Facts, features: Step, joined: set[Joint]) -> bool:
    """Whether all places of the map come together behind it, or its head is still to come."""
    if joined:
        return "unknown" not in joined
    return _is_open_end(facts, facts.follow(features, attrgetter("is_elementwise")))


def wide_flatten(facts: Facts) -> Iterator[Finding]:
    """More than 10,000 coefficients where a feature map is flattened, or where the model ends.

    AlexNet (Krizhevsky, Sutskever and Hinton, 2012) flattens 6x6x256 = 9,216 of them for images of
    1,000 classes, and most of its weights are behind them. Global average pooling in place of
    dense layers: Lin, Chen and Yan (Network in Network, 2013).
    """
    for step in facts.design.steps:
        if step.shared_with:  # told where it is first called
            continue
        flattened = isinstance(step.reads, Flat) and len(step.read[0]) == 3
        if (flattened or _is_open_end(facts, step)) and math.prod(step.shape) > WIDE_MAP:
            yield Finding(
                layer=step.name,
                number=math.prod(step.shape),
                unit="coefficients",
                what=_wide(facts, step),
                why="Each of these weights holds for one place alone, so what is learned in one "
                "corner is not known in another, and there are enough of them to learn the "
                "training images by heart.",
                remedy="Pool or stride between the convolutions, or end them with "
                "GlobalAveragePooling2D in place of Flatten.",
                threshold=f"more than {WIDE_MAP:,} coefficients",
                source="Krizhevsky et al. 2012 flatten 9,216 (AlexNet); global average pooling: "
                "Lin et al. 2013",
            )


def _is_open_end(facts: Facts, step: Step) -> bool:
    """Whether the model ends in the map ``step`` and has no loss: its head is still to come.

    What was enlarged is taken for what the model is to give, and so are maps as large as the image,
    unless they have more channels than it and come from an activation that no output has.
    """
    ends = step.name in facts.design.outputs and step.is_map and step.kind != "input"
    if facts.design.dead_end is not None or not ends or facts.compiled:
        return False
    activation = _last_activation(facts, step)
    if activation in ("softmax", "sigmoid"):
        return False
    enlarged = any(
        isinstance(each.reads, Spans) or each.layer in ENLARGING
        for each in (step, *facts.before(step))
    )
    if enlarged:
        return False
    images = [facts.design.step(name).shape for name in facts.fields[step.name]]
    images = [shape for shape in images if len(shape) == 3]
    if places(step.shape) < min(map(places, images), default=0):
        return True
    hidden = activation != "linear"
    return hidden and step.shape[-1] > max((shape[-1] for shape in images), default=step.shape[-1])


def _last_activation(facts: Facts, step: Step) -> str:
    """The activation that the values of ``step`` come from, beyond normalization and dropout."""
    while step.is_elementwise and step.activation == "linear":
        step = facts.source(step)
    return step.activation


def _wide(facts: Facts, step: Step) -> str:
    """What a dense layer makes of the coefficients, or one of 512 units would make."""
    coefficients = math.prod(step.shape)
    reader = _dense_reader(facts, step)
    if reader is None:
        parameters = (coefficients + 1) * USUAL_UNITS
        model = facts.design.parameters + parameters
        layer = f"a Dense layer of {USUAL_UNITS} on them would have"
    else:
        parameters, model = reader.parameters, facts.design.parameters
        layer = f"{reader.name} on them has"
    what = (
        f"{coefficients:,} coefficients in {step.name}: {layer} {count(parameters)} parameters, "
        f"{percent(parameters / model)} of the model"
    )
    if facts.images is None:
        return f"{what}."
    each = count(parameters / facts.images)
    return f"{what}, {each} for each of {images_in_words(facts.images)}."


def _dense_reader(facts: Facts, step: Step) -> Step | None:
    """The dense layer behind ``step``, beyond steps that work on each value alone; the call that
    its parameters are counted at."""
    reader = facts.design.sole_reader(facts.follow(step, attrgetter("is_elementwise")))
    if reader is None or reader.kind != "dense":
        return None
    return facts.design.step(reader.shared_with or reader.name)


def parameters_beyond_the_data(facts: Facts) -> Iterator[Finding]:
    """More than 50 trainable parameters for each training image.

    That is AlexNet's ratio, 60 million for 1.2 million images, of which its authors (Krizhevsky,
    Sutskever and Hinton, 2012, section 4) say that it overfits considerably without augmentation
    and dropout. Two weights for each image, and one for each pixel, are enough to give any images
    any labels (Zhang et al., 2017, theorem 1). Where nobody says how many images there will be,
    there is nothing to say.
    """
    if facts.images is None:
        return
    trainable = sum(step.trainable for step in facts.design.steps)
    if trainable <= MANY_PARAMETERS * facts.images:
        return
    largest = max(facts.design.steps, key=lambda step: step.trainable)
    yield Finding(
        layer=largest.name,
        number=trainable / facts.images,
        unit="trainable parameters for each training image",
        what=f"{count(trainable / facts.images)} trainable parameters for each of "
        f"{images_in_words(facts.images)}: {count(trainable)} in all, "
        f"{percent(largest.trainable / trainable)} of them in {largest.name}.",
        why="A net this large can learn any labels by heart, so low training loss says nothing "
        "of images that it has not seen.",
        remedy=f"Make {largest.name} smaller, or what it reads. Else: augmentation, dropout, "
        "weight decay, or weights trained on more data.",
        threshold=f"more than {MANY_PARAMETERS} for each image",
        source="Krizhevsky et al. 2012, section 4 (AlexNet: 50, with substantial overfitting); "
        "Zhang et al. 2017",
    )
