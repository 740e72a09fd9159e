"""Measure convmill beside its peers, then show tables. It asserts no time.

`python -m benchmarks` in a checkout, `convmill bench` everywhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import fma_peak, imports, record, report, results, setup_peers
from benchmarks.names import Names, choice
from benchmarks.nets import NETS
from benchmarks.options import (
    Count,
    Seconds,
    json_option,
    repeats_option,
    target_option,
    threads_option,
)
from benchmarks.peers import PEERS, Peer, before, chosen, held_to, run_by
from benchmarks.rounds import Settings, measure

SECONDS = Seconds(0, min_open=True)


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
    "--starting",
    type=Count(1),
    default=1,
    help="Peers that start at once: with more, import, build and first step take longer.",
)
@click.option("--no-imports", is_flag=True, help="Leave out what importing costs.")
@json_option
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


def _peers(options: dict[str, Any]) -> tuple[list[Peer], list[str]]:
    """Who takes part, and in words who is left out."""
    peers, forms = chosen(options["peers"], options["target"])
    left_out = [f"{peer.label} (convmill compiles for no wider target here)" for peer in forms]
    if options["before"] is not None:
        peers.append(held_to(before(options["before"]), options["target"]))
    if options["peers_python"] is not None:
        try:
            peers, missing = run_by(peers, options["peers_python"].absolute())
        except OSError as error:
            raise click.BadParameter(f"{error}.", param_hint="--peers-python") from None
        left_out += [f"{peer.label} (not installed)" for peer in missing]
    elif any(peer.python == "peers" for peer in peers):
        setup_peers.main()  # where it fails, the table says which peers have no figures
    if not peers:
        raise click.UsageError(f"nobody is left to measure, without {'; '.join(left_out)}")
    return peers, left_out


def _measure(options: dict[str, Any], json_file: Path | None) -> results.Run:
    begun = record.begin("nets")
    if options["before"] is not None:
        begun.options["before"] = record.code_of(options["before"])
    peers, left_out = _peers(options)
    tell = _progress(Console(stderr=True))
    repeats, threads = options["repeats"], options["threads"]
    run = results.Run(
        machine=begun.machine,
        options=options,
        left_out=left_out,
        single_thread_gigaflops=[fma_peak.measure(1) for _ in range(repeats)],
        imports={} if options["no_imports"] else imports.measure(repeats, tell),
        nets=[],
    )
    chunks = options["train_seconds"], options["evaluate_seconds"]
    settings = Settings(threads, repeats, *chunks, options["dtype"], options["starting"])
    for net in options["nets"]:
        run.nets.append(
            measure(NETS[net], peers, settings, lambda: fma_peak.measure(threads), tell)
        )
        if json_file:
            record.write(results.recorded(run, begun), json_file)
    tell("")
    return run


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
