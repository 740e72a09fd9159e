"""Batch normalization: y = activation((x - mean) scale + beta), channel by channel, with scale
gamma / deviation.

    training   moments: images | combine: channels | apply: images, on to the next layers ...
               ... back again: sums: images | totals: channels | input gradient: images
    frozen, and in inference     fold: channels, once a call | apply: images

Each image leaves the moments of its own places; over a batch they are combined in the order of the
images (Chan, Golub and LeVeque 1979), so that threads change no bit. Means are those of what values
are away from a first one, and taken away before anything is scaled: so values that are large and
alike lose nothing. Vectors run along channels; what belongs to a channel lies in rows of
``stage.moments.row`` elements.
"""

from __future__ import annotations

from convmill.kernels import folding
from convmill.kernels.batch_normalization_backward import (
    means_of,
    write_input_gradient,
    write_sums,
    write_totals,
)
from convmill.kernels.batch_normalization_forward import (
    S,
    of_image,
    write_apply,
    write_combine,
    write_moments,
)
from convmill.kernels.functions import asks_for_side
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Shares, Slot, gradient, of_matrix, value


def _is_fixed(site: Site[S]) -> bool:
    """Whether the moving statistics are taken as they are."""
    return site.stage.frozen or not site.training


def prepare(site: Site[S]) -> list[Launch]:
    """Scale and shift out of the moving statistics, where these are taken as they are."""
    return [folding.fold(site, site.stage.moments)] if _is_fixed(site) else []


def forward(site: Site[S]) -> list[Launch]:
    """y = activation((x - mean) scale + shift)."""
    stage, launches = site.stage, list[Launch]()
    if not _is_fixed(site):
        moments, over = of_image(stage, "moments"), Shares(stage.input.channels, site.lanes)
        moving = (
            of_matrix("parameter", stage.moments.mean),
            of_matrix("parameter", stage.moments.variance),
        )
        read, written = (
            (moments, *folding.parameters(stage.moments)),
            (folding.statistics(stage.moments), *moving),
        )
        launches = [
            Launch("normalize.moments", site.of, Images(), (value(stage.input),), (moments,)),
            Launch("normalize.combine", site.of, over, read, written),
        ]
    taken = (value(stage.input), folding.statistics(stage.moments))
    result = (value(stage.output),)
    apply = Launch("normalize.apply", site.of, Images(), taken, result, repeatable=True)
    return [*launches, apply]


def backward(site: Site[S]) -> list[Launch]:
    """Gradients of gamma and beta, and that of x, which goes back through the moments too."""
    stage, launches = site.stage, list[Launch]()
    # What the output tells follows from what the activation read: it comes from behind the caches.
    again = asks_for_side(stage.activation)
    looked_at = value(stage.input) if again else value(stage.output)
    read: tuple[Slot, ...] = (looked_at, gradient(stage.output), folding.statistics(stage.moments))
    if not _is_fixed(site):
        sums, over = of_image(stage, "sums"), Shares(stage.input.channels, site.lanes)
        trained = (one for one in (stage.moments.gamma, stage.moments.beta) if one is not None)
        written = (means_of(stage), *(of_matrix("gradient_of", one) for one in trained))
        read = (value(stage.input), *read)
        launches = [
            Launch("normalize.sums", site.of, Images(), read, (sums,)),
            Launch("normalize.totals", site.of, over, (sums,), written),
        ]
        read = (*read, means_of(stage))
    if site.gradients.input:
        result = (gradient(stage.input),)
        launches.append(Launch("normalize.input_gradient", site.of, Images(), read, result))
    return launches


def words(stage: S) -> str:
    """What is computed."""
    name = stage.activation.name
    return "batch normalization" if name == "linear" else f"batch normalization + {name}"


OPERATION = Operation(
    prepare=prepare,
    forward=forward,
    backward=backward,
    kernels={
        **folding.KERNELS,
        "normalize.moments": write_moments,
        "normalize.combine": write_combine,
        "normalize.apply": write_apply,
        "normalize.sums": write_sums,
        "normalize.totals": write_totals,
        "normalize.input_gradient": write_input_gradient,
    },
    words=words,
)
