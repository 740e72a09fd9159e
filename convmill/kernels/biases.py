"""The gradient of biases that all places of an output share."""

from __future__ import annotations

from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.operation import Site
from convmill.lower.launches import Launch, Shares, gradient, of_matrix
from convmill.lower.stages import WeightedStage


def gradients(site: Site) -> list[Launch]:
    """The launch, where there is a bias; gradients before the activation lie where ``gating`` left
    them."""
    stage = site.stage
    if stage.bias is None:
        return []
    read, written = (gradient(stage.output),), (of_matrix("gradient_of", stage.bias),)
    over, work = Shares(stage.output.channels, site.lanes), stage.output.values
    return [Launch("biases.gradient", site.of, over, read, written, work)]


def write(k: Kernel) -> None:
    """gradient[filter] += the gradient of all places of all images, in their order."""
    stage = k.build.network.stages[k.launch.number]
    assert isinstance(stage, WeightedStage)
    assert stage.bias is not None
    result, output = k.pointer(of_matrix("gradient_of", stage.bias)), stage.output
    for filter_, count in k.share(output.channels):
        total = k.variable(k.unless_fresh(k.load(result, filter_, count)))
        with k.loop(0, k.told("images")) as image:
            behind = k.record(gradient(output), image)
            with k.loop(0, output.height) as row, k.loop(0, output.width) as column:
                at = k.add(pixel_at(k, output, row, column), filter_)
                k.set(total, k.builder.fadd(k.get(total), k.load(behind, at, count)))
        k.store(k.get(total), result, filter_, count)


KERNELS = {"biases.gradient": write}
