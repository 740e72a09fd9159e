"""`python -m benchmarks.inspect_time`: milliseconds of `convmill.inspect`. It never asserts a time.

Once Keras is imported: importing what `inspect` needs of convmill, the first call, later calls.
"""

import json
import subprocess
import sys

import click

from benchmarks.names import Names
from benchmarks.nets import NETS
from benchmarks.options import processes_option
from benchmarks.peers import ROOT
from benchmarks.results import summarise

_PROGRAM = """
import convmill, json, keras, sys, time
from benchmarks.nets import NETS
from benchmarks.workers.keras_nets import build

model = build(NETS[sys.argv[1]])
start = time.perf_counter()
import convmill.inspection.report
seconds = [time.perf_counter() - start]
for _ in range(6):
    start = time.perf_counter()
    convmill.inspect(model)
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


def _milliseconds(net: str) -> list[float]:
    """Of the import and of each call, in a fresh process."""
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM, net], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [1000 * seconds for seconds in json.loads(finished.stdout.splitlines()[-1])]


@click.command()
@click.option("--nets", type=Names(NETS), default="notebook,resnet-20", show_default=True)
@processes_option
def main(nets: list[str], repeats: int) -> None:
    """Measure `convmill.inspect`, in milliseconds: median (least..greatest)."""
    for net in nets:
        calls = [_milliseconds(net) for _ in range(repeats)]
        parts = {
            "import": [each[0] for each in calls],
            "first call": [each[1] for each in calls],
            "later calls": [milliseconds for each in calls for milliseconds in each[2:]],
        }
        told = ", ".join(f"{part} {_summary(values)} ms" for part, values in parts.items())
        click.echo(f"{net}: {told}")


def _summary(values: list[float]) -> str:
    return summarise(values).told(".1f")


if __name__ == "__main__":
    main()
