"""Shapes: of one image, channels last. They never hold the batch."""

from __future__ import annotations

Shape = tuple[int, ...]
Sizes = tuple[Shape, ...]  # of one image at each input, of a model that takes several sizes
Pair = tuple[int, int]  # along height and width
Border = tuple[int, int, int, int]  # top, bottom, left, right
