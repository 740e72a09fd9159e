"""Which arithmetic the compiler takes for a convolution, told by sizes alone.

The stages that are emitted follow these rules, and so do the costs of a design before it is
compiled. Sizes are (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from convmill.plan.graph import Pair

# Activations whose derivative follows from their output alone: computed with the layer before them.
FUSABLE = {"linear", "relu", "leaky_relu", "sigmoid", "tanh", "elu"}
LARGEST_FUSED_WINDOW = 9  # places whose values stay in registers until the maximum is taken
MOST_NARROW_WORK = 128  # multiply-adds a vector of filters: above, lists of live places are quicker
LEAST_WINOGRAD_CHANNELS = 16
WINOGRAD_GAIN = 0.75  # the share of direct multiply-adds above which transforms eat the gain


def is_fused_window(size: Pair, strides: Pair, padding: Iterable[int]) -> bool:
    """Whether a max pooling is computed with the convolution before it: whole windows side by
    side, small enough for the registers."""
    return strides == size and not any(padding) and 1 < math.prod(size) <= LARGEST_FUSED_WINDOW


def is_narrow(taps: int, window: Pair) -> bool:
    """Whether a first layer's windows are so small (grey or RGB images) that its weight gradient is
    quicker with filters in the lanes, over all places, than along lists of live ones.

    ``taps`` are the weights of a filter, ``window`` is that of the max pooling fused behind it.
    """
    return taps * math.prod(window) <= MOST_NARROW_WORK


def takes_winograd(
    kernel_size: Pair, strides: Pair, window: Pair, places: Pair, channels: int, filters: int
) -> bool:
    """Whether F(2x2, 3x3) of Winograd's minimal filtering (Lavin and Gray 2016) is quicker: 16
    products a tile and channel in place of 36, for 3x3 kernels without strides.

    ``places`` are those that are convolved, ``window`` as in ``is_narrow``.
    """
    tiles = math.prod(-(-size // 2) for size in places)
    return (
        kernel_size == (3, 3)
        and strides == (1, 1)
        and window in ((1, 1), (2, 2))
        and min(places) >= 2
        and min(channels, filters) >= LEAST_WINOGRAD_CHANNELS
        and 16 * tiles <= WINOGRAD_GAIN * 9 * math.prod(places)
    )
