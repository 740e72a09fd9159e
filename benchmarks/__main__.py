"""Measure convmill beside its peers, then show tables. It asserts no time.

`python -m benchmarks` in a checkout, `convmill bench` everywhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import fma_peak, imports, machine, report, results, setup_peers
from benchmarks.names import Names, choice
from benchmarks.nets import NETS
from benchmarks.options import repeats_option, target_option, threads_option
from benchmarks.peers import PEERS, Peer, before, held_to, run_by
from benchmarks.rounds import Settings, measure

SECONDS = click.FloatRange(0, min_open=True)


def _new_file(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a file that cannot be written before the minutes of measuring, not after them."""
    if file is not None and not file.resolve().parent.is_dir():
        raise click.BadParameter(f"there is no such folder. Received: {str(file)!r}.")
    return file


def _progress(console: Console) -> Callable[[str], None]:
    """Progress on standard error: one changing line on a terminal, silence elsewhere."""
    if not console.is_terminal:
        return lambda text: None
    return lambda text: console.print(f"\x1b[2K{text}", end="\r", markup=False, highlight=False)


@click.command(
    help=__doc__,
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.option("--nets", type=Names(NETS), default="notebook", help=choice(NETS))
@click.option("--peers", type=Names(PEERS), default="all", help=choice(PEERS))
@repeats_option
@threads_option
@target_option
@click.option("--train-seconds", type=SECONDS, default=3.0, help="Length of a timed chunk.")
@click.option("--evaluate-seconds", type=SECONDS, default=1.0, help="Length of a timed chunk.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    help="Of the images; the notebook's own are float64.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_new_file,
    help="Write every raw sample here, net by net.",
)
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another checkout of convmill, measured beside this one.",
)
@click.option(
    "--peers-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A Python that has peers installed, instead of .venv-peers; what it lacks is left out.",
)
@click.option("--markdown", is_flag=True, help="Markdown instead of tables for the terminal.")
def main(json_file: Path | None, markdown: bool, **options: Any) -> None:
    try:
        run = _measure(options, json_file)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    if markdown:
        click.echo(report.markdown(run), nl=False)
    else:
        console = Console()
        report.show(run, console if console.is_terminal else Console(width=110))


def _peers(options: dict[str, Any]) -> list[Peer]:
    """Who takes part; options become what JSON can hold."""
    peers = [PEERS[name] for name in options["peers"]]
    if options["before"] is not None:
        peers.append(before(options["before"]))
        options["before"] = str(options["before"])
    if options["peers_python"] is not None:
        try:
            peers, missing = run_by(peers, options["peers_python"].absolute())
        except OSError as error:
            raise click.BadParameter(f"{error}.", param_hint="--peers-python") from None
        options["peers_python"] = str(options["peers_python"])
        options["left_out"] = [peer.label for peer in missing]
    elif any(peer.python == "peers" for peer in peers):
        setup_peers.main()  # where it fails, the table says which peers have no figures
    if not peers:
        raise click.UsageError(f"none of them is installed in {options['peers_python']}")
    return [held_to(peer, options["target"]) for peer in peers]


def _measure(options: dict[str, Any], json_file: Path | None) -> results.Run:
    peers = _peers(options)
    tell = _progress(Console(stderr=True))
    repeats, threads = options["repeats"], options["threads"]
    run = results.Run(
        machine=machine.describe(),
        options=options,
        single_thread_gigaflops=[fma_peak.measure(1) for _ in range(repeats)],
        imports=imports.measure(repeats, tell),
        nets=[],
    )
    settings = Settings(
        threads, repeats, options["train_seconds"], options["evaluate_seconds"], options["dtype"]
    )
    for net in options["nets"]:
        run.nets.append(
            measure(NETS[net], peers, settings, lambda: fma_peak.measure(threads), tell)
        )
        if json_file:
            results.write_json(run, json_file)
    tell("")
    return run


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
