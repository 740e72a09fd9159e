"""Operations of a Graph that put values at other places: cut, padded, turned, resampled."""

from __future__ import annotations

from dataclasses import dataclass

from convmill.plan.graph.shapes import Border, Pair, Shape


@dataclass(frozen=True)
class Flatten:
    """Any shape to one axis, in row-major order."""


@dataclass(frozen=True)
class Reshape:
    """The values in their order, in the node's shape."""


@dataclass(frozen=True)
class Pad:
    """Zeros around the image."""

    padding: Border


@dataclass(frozen=True)
class Crop:
    """The image without its outer rows and columns."""

    cropping: Border


@dataclass(frozen=True)
class Upsample:
    """Each place ``factors`` times along height and width, by ``interpolation``: "nearest",
    "bilinear" (which has its points at the centres of pixels), or another."""

    factors: Pair
    interpolation: str


@dataclass(frozen=True)
class Resample:
    """An image of another height and width, that of the node's shape, by ``interpolation``, as in
    ``Upsample``; ``antialias`` widens its windows where the image gets smaller. ``cropping`` is
    taken off before."""

    interpolation: str
    antialias: bool = False
    cropping: Border = (0, 0, 0, 0)


@dataclass(frozen=True)
class Nest:
    """Loops of ``sizes``, the last one innermost, that copy values: each goes on by so many values
    in the image that is ``read`` and in the one that is ``written``, from ``source`` and
    ``target``. Both are without gaps, their last axis innermost."""

    sizes: Shape
    read: tuple[int, ...]
    written: tuple[int, ...]
    source: int = 0
    target: int = 0


@dataclass(frozen=True)
class Move:
    """Values at other places: turned, reversed, cut out, repeated. No two of ``parts`` write, or
    read, one value; each writes a value once, and what none writes is zero."""

    parts: tuple[Nest, ...]
