"""The records of a folder, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import record
from benchmarks.nets import NETS
from benchmarks.record import Record, RecordError
from benchmarks.results import NetResult, Run, run_of

NETS_PART = "nets"  # the one part that several records may share, each with nets of its own


@dataclass(frozen=True)
class Net:
    """What was measured on one net, and the run that it belongs to."""

    result: NetResult
    run: Run


@dataclass(frozen=True)
class Gathered:
    """`records` by part, `nets` by name in the benchmark's order."""

    records: dict[str, list[Record]]
    nets: dict[str, Net]

    def runs(self) -> list[Run]:
        """Those that the nets were measured in."""
        return list({id(net.run): net.run for net in self.nets.values()}.values())

    def part(self, name: str) -> Record | None:
        """The record of a part that has one; None where the part was not measured."""
        return next(iter(self.records.get(name, [])), None)


def gather(folder: Path) -> Gathered:
    """All records of a folder.

    Raises:
        RecordError: a file is no record, or two say different things of the same.
    """
    records: dict[str, list[Record]] = {}
    nets: dict[str, Net] = {}
    places: dict[str, str] = {}
    for file in sorted(folder.glob("*.json")):
        found = record.read(file)
        run = run_of(found) if found.part == NETS_PART else None
        for what in [net.name for net in run.nets] if run else [found.part]:
            if what in places:
                raise RecordError(
                    f"{places[what]} and {file.name} both say how fast {what!r} is. Remove one."
                )
            places[what] = file.name
        if run:
            nets |= {result.name: Net(result, run) for result in run.nets}
        records.setdefault(found.part, []).append(found)
    return Gathered(records, {name: nets[name] for name in NETS if name in nets})
