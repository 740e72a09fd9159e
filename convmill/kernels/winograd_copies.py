"""The copies of kernels that Winograd's minimal filtering reads: transforms, G g G', and those of
kernels turned around, for the gradient of the input; ``winograd.py`` says what for."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.copies import ends, in_copy
from convmill.kernels.lang import Index
from convmill.kernels.transforms import Vectors, square, weigh
from convmill.lower.network import Copy


def transform_weights(k: Kernel) -> None:
    """transform = G g G' for a share of the filters, of the transposed copy: points x vectors of
    filters x channels, of taps x channels."""
    matrix = k.build.matrix(k.launch)
    pack, transform = matrix.copy("pack"), matrix.copy("transform")
    assert transform.filtering is not None
    kernel, (source, target) = transform.filtering.kernel, ends(k)
    channels = matrix.columns // kernel**2
    step = channels * pack.column
    with (
        k.loop(0, channels) as channel,
        k.loop(k.told("first"), k.told("last"), k.lanes) as filter_,
    ):
        at = in_copy(k, pack, filter_, channel)
        taps = [
            [k.load(source, k.add(at, step * (kernel * i + j))) for j in range(kernel)]
            for i in range(kernel)
        ]
        _store_weighed(k, transform, taps, target, in_copy(k, transform, filter_, channel))


def turn_weights(k: Kernel) -> None:
    """turned = G g G' for a share of the filters, of the parameter with its taps turned around:
    points x vectors of channels x filters, of filters x taps x channels."""
    matrix = k.build.matrix(k.launch)
    turned = matrix.copy("turned")
    assert turned.filtering is not None
    kernel, (source, target) = turned.filtering.kernel, ends(k)
    channels = matrix.columns // kernel**2
    with k.loop(k.told("first"), k.told("last")) as filter_:
        line = k.at(source, k.mul(filter_, matrix.columns))

        def turn(channel: Index, count: int, filter_: Index = filter_) -> None:
            last = kernel**2 - 1
            taps = [
                [
                    k.load(line, k.add(channel, channels * (last - kernel * i - j)), count)
                    for j in range(kernel)
                ]
                for i in range(kernel)
            ]
            _store_weighed(k, turned, taps, target, in_copy(k, turned, channel, filter_))

        k.vectors(channels, turn)


def _store_weighed(k: Kernel, copy: Copy, taps: list[Vectors], target: ir.Value, at: Index) -> None:
    assert copy.filtering is not None
    filtering = copy.filtering
    weighed = square(lambda g: weigh(k, filtering.side, g), taps)
    for point, one in enumerate(one for row in weighed for one in row):
        k.store(one, target, k.add(at, copy.point * point))
