"""`make bench`: every part of docs/benchmarks.md, one behind the other, and then the page.

Each part is a command of its own; its record lies in the folder under the part's name. A part that
fails leaves the record that was there, and the others are measured all the same.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.names import Names, choice
from benchmarks.nets import NETS
from benchmarks.peers import ROOT

FOLDER = ROOT / "docs" / "benchmarks"
QUICK_FOLDER = ROOT / "build" / "benchmarks"
REBUILD = ROOT / "docs" / "rebuild_benchmarks.py"
GREY = [name for name, net in NETS.items() if net.input_shape == (28, 28, 1)]
PEERS = "convmill,convmill-avx2,keras-tensorflow,keras-jax,torch,torch-channels-last"


@dataclass(frozen=True)
class Part:
    """A measuring command, its options, and those that only show that it works."""

    module: str
    options: str
    quick: str


def _nets(names: list[str], quick: str) -> Part:
    """All engines on these nets; one of them if it has to be ``quick``."""
    return Part(
        "benchmarks",
        f"--nets {','.join(names)} --peers {PEERS} --no-imports --starting 2 --repeats 3 "
        "--train-seconds 0.6 --evaluate-seconds 0.25",
        f"--nets {quick} --peers convmill,convmill-avx2 --no-imports --repeats 1 "
        "--train-seconds 0.1 --evaluate-seconds 0.1",
    )


PARTS = {
    "notebook": Part(
        "benchmarks",
        "--starting 2 --repeats 3 --train-seconds 1.5 --evaluate-seconds 0.6",
        "--peers convmill,jax --repeats 1 --train-seconds 0.1 --evaluate-seconds 0.1",
    ),
    "latency": Part(
        "benchmarks.latency",
        f"--peers {PEERS},jax --repeats 5 --seconds 0.3",
        "--peers convmill,jax --repeats 1 --seconds 0.1",
    ),
    "threads": Part(
        "benchmarks.threads",
        "--busy 1 --repeats 5 --seconds 1",
        "--busy 1 --nets lenet-5 --repeats 1 --seconds 0.1",
    ),
    "first_epoch": Part(
        "benchmarks.first_epoch", "--repeats 2", "--peers convmill,jax --repeats 1"
    ),
    "compile_time": Part("benchmarks.compile_time", "--repeats 3", "--nets lenet-5 --repeats 1"),
    "recipes": Part("benchmarks.recipes", "--seeds 10", "--recipes fast --seeds 1"),
    "checkpoints": Part(
        "benchmarks.checkpoints",
        "--nets notebook,resnet-20 --repeats 2 --seconds 8",
        "--nets lenet-5 --repeats 1 --seconds 1 --every 0.2",
    ),
    "mnist_nets": _nets([name for name in GREY if name != "notebook"], "lenet-5"),
    "other_nets": _nets([name for name in NETS if name not in GREY], "resnet-8"),
}


@click.command(context_settings={"show_default": True})
@click.option("--parts", type=Names(PARTS), default="all", help=choice(PARTS))
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Of the records.")
@click.option("--quick", is_flag=True, help="Only see that all of it works, into build/.")
def main(parts: list[str], folder: Path | None, quick: bool) -> None:
    """Measure all parts of docs/benchmarks.md, then write it. Use a machine at rest."""
    folder = (folder or (QUICK_FOLDER if quick else FOLDER)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    begin, failed = time.monotonic(), []
    for part in parts:
        start, module = time.monotonic(), PARTS[part].module
        options = PARTS[part].quick if quick else PARTS[part].options
        click.echo(f"{part}: python -m {module} {options}")
        record = ["--json", str(folder / f"{part}.json")]
        command = [sys.executable, "-m", module, *options.split(), *record]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(part)
        click.echo(f"{part}: {_minutes(start)}, in all {_minutes(begin)}\n")
    subprocess.run([sys.executable, str(REBUILD), str(folder)], cwd=ROOT, check=True)
    click.echo(f"{folder.with_suffix('.md')} is written, after {_minutes(begin)}.")
    if failed:
        raise click.ClickException(f"these parts failed: {', '.join(failed)}.")


def _minutes(start: float) -> str:
    return f"{(time.monotonic() - start) / 60:.1f} minutes"


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.everything")
