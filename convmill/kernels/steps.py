"""From a Network to the Step that computes it: launches in order, cut into phases.

    training    copies | gather, forward, loss, backward, dW | dW | norms | update, copies
    inference   copies | gather, forward, predictions, loss
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from convmill.kernels import constraints, copies, images, measure, sums, update
from convmill.kernels.operation import Site
from convmill.kernels.operations import operation_of
from convmill.lower.again import computed_again
from convmill.lower.cut import cut
from convmill.lower.launches import Launch, Slot, Step
from convmill.lower.network import Gradients, Network
from convmill.lower.slices import sliced, summed


def training_step(network: Network, lanes: int) -> Step:
    """One step of training on a batch."""
    sites = _sites(network, network.gradients, lanes, training=True)
    gradients = _weight_gradients(sites)
    by_slices = sliced(network, gradients)
    gradients = [launch for launch in gradients if launch.of not in by_slices]
    over_images = [*images.gather(network), *_forward(sites), *images.scatter(network)]
    over_images += measure.measure(network, training=True)
    over_images += _backward(network, sites, by_slices)
    copied = copies.copies(network, [*over_images, *gradients], lanes)
    steps = []
    bounds = constraints.constraints(network)
    late = [launch.number for launch in bounds]
    for launch in update.updates(network, lanes):
        steps += [launch, *([] if launch.number in late else copied.get(launch.number, []))]
    steps += [*bounds, *(one for number in late for one in copied.get(number, []))]
    before = [*_prepared(sites), *(one for launches in copied.values() for one in launches)]
    closing = summed(network, over_images, lanes)
    closing += [*update.slopes(network), *update.norms(network), *steps]
    launches = _added([*over_images, *update.penalties(network), *gradients])
    return cut(before, computed_again([*launches, *closing]))


def _backward(
    network: Network, sites: list[Site], by_slices: Mapping[str, list[Launch]]
) -> list[Launch]:
    """From the last stage to the first, where a gradient is wanted; what several readers left of a
    tensor is added up before its writer goes on. Gradients of weights that are summed by slices
    come behind those of their stage's input."""
    past = {measure.through_softmax(network, output) for output in range(len(network.outputs))}
    parts, launches = sums.uses(network), list[Launch]()
    for number in reversed(range(len(sites))):
        site = sites[number]
        if not site.gradients.output:
            continue
        if number not in past:
            added = parts.get(site.stage.output.buffer)
            if added:
                launches.append(sums.add_up(site.stage, site.of, added))
            launches += operation_of(site.stage).backward(site)
        launches += by_slices.get(site.of, ())
    return launches


def _weight_gradients(sites: list[Site]) -> list[Launch]:
    """Gradients of parameters, over shares and all images of a batch."""
    trained = (site for site in sites if site.gradients.weights)
    return [one for site in trained for one in operation_of(site.stage).weight_gradient(site)]


def _added(launches: Iterable[Launch]) -> list[Launch]:
    """Launches of which a second one that writes the gradient of a parameter adds to the first:
    stages may share their parameters."""
    found: list[Launch] = []
    written: set[Slot] = set()
    for launch in launches:
        kinds = ("gradient_of/", "partial/")
        sums = {slot for slot in launch.writes if slot.name.startswith(kinds)}
        found.append(replace(launch, adds=bool(sums & written)))
        written |= sums
    return found


def inference_step(network: Network, lanes: int) -> Step:
    """Predictions of all images, and losses where there are labels."""
    untrained = tuple(Gradients() for _ in network.stages)
    sites = _sites(network, untrained, lanes, training=False)
    launches = [*images.gather(network), *_forward(sites), *images.scatter(network)]
    if network.recipe is not None:
        launches += measure.measure(network, training=False)
    copied = copies.copies(network, launches, lanes)
    return cut([*_prepared(sites), *(one for each in copied.values() for one in each)], launches)


def _sites(
    network: Network, gradients: tuple[Gradients, ...], lanes: int, *, training: bool
) -> list[Site]:
    """Every stage with what is wanted of it."""
    return [
        Site(stage, f"stage{number}", wanted, training, lanes)
        for number, (stage, wanted) in enumerate(zip(network.stages, gradients, strict=True))
    ]


def _prepared(sites: list[Site]) -> list[Launch]:
    return [launch for site in sites for launch in operation_of(site.stage).prepare(site)]


def _forward(sites: list[Site]) -> list[Launch]:
    return [launch for site in sites for launch in operation_of(site.stage).forward(site)]
