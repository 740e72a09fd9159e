"""``convmill inspect``: what a design implies before it is trained."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convmill.cli import options
from convmill.cli.help import Command
from convmill.failure import Failure, as_failures
from convmill.printing import say

if TYPE_CHECKING:
    from convmill.inspection.faces import Report
    from convmill.inspection.report import Inspection

Shape = tuple[int, ...]

# What Keras calls a model that is given no name.
MADE_UP = re.compile(r"(sequential|functional)(_\d+)?")
# The sizes of what a model reads, by how many there are.
FORMS = {1: "VALUES", 2: "LENGTHxCHANNELS", 3: "HxWxC", 4: "DxHxWxC"}


class Model(click.ParamType):
    """A saved model, or a function in a script that builds one."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it is; BadParameter where there is no such file."""
        try:
            options.check_model_source(value, "MODEL")
        except click.BadParameter as error:
            self.fail(error.message, param, ctx)
        return str(value)


class Sizes(click.ParamType):
    """The shape of an image as text: 28x28x1."""

    name = "sizes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Shape:
        """The sizes; BadParameter where they are none."""
        if not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8})*", str(value)):
            self.fail(
                f"It must be height, width and channels, such as 28x28x1. Received: {value}",
                param,
                ctx,
            )
        return tuple(map(int, str(value).split("x")))


@click.command(cls=Command, short_help="See what a design implies before it is trained.")
@click.argument("model", metavar="MODEL", type=Model())
@click.option(
    "--compare",
    "other",
    type=Model(),
    metavar="MODEL",
    help="Another design, to be laid beside the first.",
)
@click.option(
    "--input-shape",
    type=Sizes(),
    metavar="HxWxC",
    help="Size of an image: height x width x channels.  [default: what the model or its function "
    "says, else 28x28x1]",
)
@click.option(
    "--images",
    type=options.Whole(1, options.MOST_IMAGES),
    metavar="N",
    help="How many images there are to learn from.  [default: MNIST's 60,000 for images of its "
    "size]",
)
@options.batch_size_option
@options.json_option
@click.option("--markdown", is_flag=True, help="Print Markdown, with all the columns.")
def inspect(
    model: str,
    other: str | None,
    input_shape: Shape | None,
    images: int | None,
    batch_size: int,
    as_json: bool,
    markdown: bool,
) -> None:
    """See shapes, parameters, arithmetic, memory and receptive fields of a model's layers, and
    what in its design is worth a thought.

    MODEL is a .keras file, or SCRIPT.py:FUNCTION, a function that returns a Keras model. Nothing is
    trained, and no data are needed.

    \b
    Examples:
      convmill inspect digits.keras
      convmill inspect net.py:build --input-shape 32x32x3
      convmill inspect net.py:one --compare net.py:two
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude each other.")
    with options.stdout_for_json(as_json or markdown):
        report = _report(model, other, input_shape, images, batch_size)
    if as_json:
        options.print_json(report.to_dict())
    elif markdown:
        say(report.markdown().rstrip("\n"), sys.stdout)
    else:
        from rich.console import Console

        Console().print(report)
    if ends := report.dead_ends():
        raise Failure(" ".join(ends))


def _report(
    source: str, other: str | None, shape: Shape | None, images: int | None, batch_size: int
) -> Report:
    """One design, or two side by side."""
    first = _inspect(source, shape, images, batch_size)
    if other is None:
        return first
    from convmill.inspection.compare import compare

    second = _inspect(other, shape, images, batch_size)
    a, b = _told_apart((first.name, second.name), (source, other))
    return compare(replace(first, name=a), replace(second, name=b))


def _told_apart(names: tuple[str, str], sources: tuple[str, str]) -> tuple[str, str]:
    """The models' names; those of their files where the names are one, or Keras made one up.

    Of files called alike the whole paths.
    """
    if names[0] != names[1] and not any(map(MADE_UP.fullmatch, names)):
        return names
    files = Path(sources[0]).name, Path(sources[1]).name
    return files if files[0] != files[1] else sources


def _inspect(source: str, shape: Shape | None, images: int | None, batch_size: int) -> Inspection:
    import keras

    import convmill
    from convmill.user_models import INPUT_SHAPE, build_design, load_model

    keras.utils.clear_session()  # so that two designs name their layers alike
    if source.endswith(".keras"):
        model = load_model(Path(source))
    else:
        model = build_design(source, {"input_shape": shape} if shape else {})
        shape = shape if model.built else shape or INPUT_SHAPE
    if shape:
        _check_sizes(model, shape)
    try:
        with as_failures():
            return convmill.inspect(model, input_shape=shape, images=images, batch_size=batch_size)
    except Failure as failure:
        raise Failure(_with_options(failure.message)) from failure


def _check_sizes(model: Any, shape: Shape) -> None:
    """Raises click.BadParameter where a built model reads another number of sizes."""
    inputs: Any = getattr(model, "inputs", None) or ()
    if len(inputs) != 1:
        return  # not built, or an error of its own
    own = tuple(inputs[0].shape[1:])
    if own and len(shape) != len(own):
        form = FORMS.get(len(own), f"{len(own)} sizes")
        raise click.BadParameter(
            f"It must be {form}, such as {_text(size or 32 for size in own)}. "
            f"Received: {_text(shape)}",
            param_hint="--input-shape",
        )


def _text(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _with_options(message: str) -> str:
    """What is said of the argument ``input_shape``, said of the option."""
    message = message.replace("input_shape=(height, width, channels)", "--input-shape HxWxC")
    return re.sub(r"\binput_shape\b", "--input-shape", message)
