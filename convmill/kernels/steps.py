"""From a Network to the Step that computes it: launches in order, cut into phases.

    training    copies | gather, forward, loss, backward | dW | norms | update, copies
    inference   copies | gather, forward, predictions, loss
"""

from __future__ import annotations

from convmill.kernels import copies, images, measure, update
from convmill.kernels.operation import Site
from convmill.kernels.operations import operation_of
from convmill.lower.cut import cut
from convmill.lower.launches import Launch, Step
from convmill.lower.stages import Gradients, Network


def training_step(network: Network, lanes: int) -> Step:
    """One step of training on a batch."""
    sites = _sites(network, network.gradients, lanes, training=True)
    over_images = [images.gather(network), *_forward(sites)]
    over_images += [images.scatter(network), measure.measure(network, training=True)]
    last = len(sites) - (1 if measure.through_softmax(network) else 0)
    for site in reversed(sites[:last]):
        if site.gradients.output:
            over_images += operation_of(site.stage).backward(site)
    trained = [site for site in sites if site.gradients.weights]
    gradients = [one for site in trained for one in operation_of(site.stage).weight_gradient(site)]
    copied = copies.copies(network, [*over_images, *gradients], lanes)
    steps = []
    for launch in update.updates(network, lanes):
        steps += [launch, *copied.get(launch.number, [])]
    before = [launch for launches in copied.values() for launch in launches]
    closing = [*update.norms(network), *steps]
    return cut(before, [*over_images, *update.penalties(network), *gradients, *closing])


def inference_step(network: Network, lanes: int) -> Step:
    """Predictions of all images, and losses where there are labels."""
    sites = _sites(network, tuple(Gradients() for _ in network.stages), lanes, training=False)
    launches = [images.gather(network), *_forward(sites), images.scatter(network)]
    if network.recipe is not None:
        launches.append(measure.measure(network, training=False))
    copied = copies.copies(network, launches, lanes)
    return cut([one for found in copied.values() for one in found], launches)


def _sites(
    network: Network, gradients: tuple[Gradients, ...], lanes: int, *, training: bool
) -> list[Site]:
    """Every stage with what is wanted of it."""
    return [
        Site(stage, f"stage{number}", wanted, training, lanes)
        for number, (stage, wanted) in enumerate(zip(network.stages, gradients, strict=True))
    ]


def _forward(sites: list[Site]) -> list[Launch]:
    return [launch for site in sites for launch in operation_of(site.stage).forward(site)]
