"""The table of results as Markdown, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.peers.groups import EXPLAINED, Group
from tests.peers.run import Case

_INTRODUCTION = """\
# Keras' own tests, through convmill

Written by `make peer-tests` with Keras {keras}, JAX {jax}, NumPy {numpy} and llvmlite {llvmlite}.
The tests are those inside the installed keras package. Each group is run twice: as Keras runs it,
and with convmill under it. *Only in Keras* counts cases that pass in plain Keras and not with
convmill; each is explained below. *Compiled cases* are those in which compiled code ran at all,
*compiled calls* and *images* what was counted at `Program.train`, `evaluate` and `predict`, and
*fallbacks* the refusals, after each of which Keras itself ran. What neither passes nor skips wants
what is not there: TensorFlow, PyTorch, Grain, or a file that the keras wheel leaves out. Some tests
draw random numbers and stop early, so that calls and images differ a little from run to run.
"""


@dataclass(frozen=True)
class Result:
    """One group's cases, by name: in plain Keras, and with convmill."""

    group: Group
    plain: Mapping[str, Case]
    routed: Mapping[str, Case]

    @property
    def differences(self) -> list[str]:
        """Cases that plain Keras passes, and that do not pass with convmill."""
        return [
            name
            for name, case in self.plain.items()
            if case.outcome == "passed"
            and (name not in self.routed or self.routed[name].outcome != "passed")
        ]

    @property
    def calls(self) -> int:
        """Calls of compiled programs."""
        return sum(case.calls for case in self.routed.values())


def problems(results: Sequence[Result]) -> list[str]:
    """What makes the run a failure: unexplained differences, groups where nothing was compiled."""
    found = [f"{result.group.name}: nothing ran compiled" for result in results if not result.calls]
    for result in results:
        for name in result.differences:
            if name not in EXPLAINED:
                case = result.routed.get(name, Case("failed", "is missing"))
                found.append(f"{name}: {case.message or case.outcome}")
    return found


def settled(results: Sequence[Result]) -> list[str]:
    """Explained differences that are none any more."""
    names = {name for result in results for name in result.plain}
    differing = {name for result in results for name in result.differences}
    return [name for name in EXPLAINED if name in names - differing]


def markdown(results: Sequence[Result], versions: Mapping[str, str]) -> str:
    """The whole document."""
    parts = [_INTRODUCTION.format(**versions), _numbers(results), "## How\n", _how(results)]
    parts += ["## Only in Keras\n", _differences(results), "## Fallbacks\n", _fallbacks(results)]
    return "\n".join(parts)


def _numbers(results: Sequence[Result]) -> str:
    titles = ("group", "cases", "plain Keras passes", "convmill passes", "skipped", "only in Keras")
    titles += ("compiled cases", "compiled calls", "images", "fallbacks")
    rows = [_row(result) for result in results]
    total = ["**all**", *(sum(column) for column in list(zip(*rows, strict=True))[1:])]
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows, total]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _row(result: Result) -> list[object]:
    plain, routed = list(result.plain.values()), list(result.routed.values())
    return [
        result.group.name,
        len(plain),
        sum(case.outcome == "passed" for case in plain),
        sum(case.outcome == "passed" for case in routed),
        sum(case.outcome == "skipped" for case in plain),
        len(result.differences),
        sum(case.calls > 0 for case in routed),
        result.calls,
        sum(case.images for case in routed),
        sum(sum(case.fallbacks.values()) for case in routed),
    ]


def _how(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        lines.append(f"- **{result.group.name}**: {result.group.how}.\n")
        if result.group.select:
            lines.append(f"  Selected: `{result.group.select}`.\n")
    return "".join(lines)


def _differences(results: Sequence[Result]) -> str:
    by_reason: dict[str, list[str]] = {}
    for result in results:
        for name in result.differences:
            reason = EXPLAINED.get(name, "**Not explained.**")
            cases = by_reason.setdefault(reason, [])
            if name not in cases:  # a case may be in two groups
                cases.append(name)
    if not by_reason:
        return "None.\n"
    lines = []
    for reason, names in by_reason.items():
        lines.append(f"- {reason}\n")
        lines += [f"  - `{name}`\n" for name in names]
    return "".join(lines)


def _fallbacks(results: Sequence[Result]) -> str:
    lines = ["| group | refusals | reason |\n", "| --- | ---: | --- |\n"]
    for result in results:
        reasons: Counter[str] = Counter()
        for case in result.routed.values():
            reasons.update(case.fallbacks)
        lines += [
            f"| {result.group.name} | {count} | {reason.replace('|', '/')} |\n"
            for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ]
    return "".join(lines)
