"""What happens to a group of images: gathered, forward stage by stage, loss, backward.

Each image is computed alone in its record; a group only shares weights that are in the cache.
"""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.build import Build, Group, Kernel, each_image, slot
from convmill.kernels.context import field
from convmill.kernels.gather import gather, scatter
from convmill.kernels.lang import F32, I8, I32, I64, POINTER, Emitter, Index
from convmill.kernels.loss import loss, through_softmax


def read_images(build: Build) -> Kernel:
    """Gather the group's images."""
    kernel = gather(build.module, build.network.input, build.machine.lanes)
    name = f"value/{build.network.input.buffer}"

    def run(group: Group) -> None:
        e = group.e
        order, images = field(e, group.context, "order"), field(e, group.context, "images")
        stride, kind = (field(e, group.context, name) for name in ("image_stride", "image_type"))

        def one(image: Index, record: ir.Value) -> None:
            number = e.load_scalar(order, e.add(group.position, image), I64)
            source = e.at(images, e.mul(number, stride), I8)
            e.call(kernel, source, kind, slot(build, record, name, e))

        each_image(build, group, one)

    return run


def write_outputs(build: Build) -> Kernel:
    """Hand the group's predictions out, where they are wanted."""
    tensor = build.network.output
    kernel = scatter(build.module, tensor, build.machine.lanes)

    def run(group: Group) -> None:
        e = group.e
        wanted = e.builder.icmp_signed(
            "!=", field(e, group.context, "has_outputs"), ir.Constant(I64, 0)
        )
        with e.when(wanted):
            outputs = field(e, group.context, "outputs")

            def one(image: Index, record: ir.Value) -> None:
                target = e.at(outputs, e.mul(e.add(group.position, image), tensor.values))
                e.call(kernel, slot(build, record, f"value/{tensor.buffer}", e), target)

            each_image(build, group, one)

    return run


def measure(build: Build) -> Kernel:
    """Loss of each image, and in training its gradient."""
    network, recipe = build.network, build.network.recipe
    assert recipe is not None
    past = through_softmax(network)
    target = network.stages[-1].input if past else network.output
    derive = build.training and network.first_backward < len(network.stages)
    classes = network.output.values
    kernel = loss(build.module, recipe, classes, past, derive, build.machine.lanes)

    def run(group: Group) -> None:
        e = group.e
        order, labels, weights, losses, correct = (
            field(e, group.context, name)
            for name in ("order", "labels", "weights", "losses", "correct")
        )

        def one(image: Index, record: ir.Value) -> None:
            position = e.add(group.position, image)
            number = e.load_scalar(order, position, I64)
            label = (
                e.at(labels, number, I32)
                if recipe.loss.sparse
                else e.at(labels, e.mul(number, classes))
            )
            e.call(
                kernel,
                slot(build, record, f"value/{network.output.buffer}", e),
                label,
                e.load_scalar(weights, number),
                group.scale,
                e.at(losses, position),
                e.at(correct, position),
                slot(build, record, f"gradient/{target.buffer}", e),
            )

        each_image(build, group, one)

    return run


def group_function(build: Build, kernels: list[Kernel]) -> ir.Function:
    """(context, records, images, position in batch, position, step, scale, scratch): all of
    ``kernels``."""
    arguments = [POINTER, POINTER, I64, I64, I64, I64, F32, POINTER]
    e = Emitter(build.module, "group", arguments, build.machine.lanes)
    group = Group(e, *e.arguments)
    for kernel in kernels:
        kernel(group)
    return e.finish()
