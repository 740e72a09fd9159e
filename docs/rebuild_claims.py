"""Writes docs/studies/ and docs/claims.md from the results of finished studies.

    python docs/rebuild_claims.py [RUN ...]

Each RUN is the folder of a finished study (``convmill study run NAME --out RUN``): its result goes
into docs/studies/NAME.json. Then a page for each result, NAME.md with its pictures, and claims.md
are written anew from what is there; so no figure of them is typed by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from convmill.inspection.markdown import escaped
from convmill.page.markdown import render
from convmill.page.study import page_of
from convmill.page.study_index import with_links
from convmill.page.study_labels import base_label, capital
from convmill.plain_json import json_text
from convmill.study import read
from convmill.study.result import Arm, Measure, StudyResult, Summary
from convmill.study.words import mean_and_interval

DOCS = Path(__file__).parent
INTRODUCTION = """\
# What is claimed of convnets, and what was measured

The classic notebook that trains a small convnet on MNIST states rules on the way. Here they stand,
in our words, beside what `convmill study` measured: means over seeds, and differences of pairs of
equal seed, with their 95 % intervals. Figures are those of the results in `docs/studies`, put here
by `python docs/rebuild_claims.py`. [The lesson](lesson.md) explains the words. Times of epochs,
where a study has them, are of runs beside other work on the machine, up to three times what they
are at rest: they rank designs, and `make bench` tells speeds.
"""
QUICK = " (quick form: fewer images, epochs or seeds)"


@dataclass(frozen=True)
class Claim:
    """What is said, which study asks whether it holds, and what of its result answers."""

    words: str
    study: str
    measured: Callable[[StudyResult], str] = lambda result: result.answer


def largest_and_answer(result: StudyResult) -> str:
    """The size of the largest net, the answer, and the last comparison of the second measure."""
    largest = max(result.arms, key=lambda arm: arm.parameters or 0)
    told = f"{capital(base_label(largest))} has {largest.parameters:,} parameters. {result.answer}"
    second = [one for one in result.comparisons if one.measure == result.measures[1].name]
    return f"{told} {capital(second[-1].sentence)}." if second else told


def summaries(result: StudyResult, measure: Measure) -> Iterator[tuple[Arm, Summary]]:
    """The arms that have runs, with what these show of a measure."""
    for arm in result.arms:
        if (summary := arm.summary(measure.name)) is not None:
            yield arm, summary


def everywhere_and_at_home(result: StudyResult) -> str:
    """The answer, and how well each net reads digits where it has seen them."""
    home = result.measures[1]
    told = [
        f"{base_label(arm)} {mean_and_interval(home, summary)}"
        for arm, summary in summaries(result, home)
    ]
    return f"{result.answer} In the corner that they were trained in: {', '.join(told)}."


def answer_in_shares(result: StudyResult) -> str:
    """The answer, and how large a part of what a unit sees it is."""
    extent, seen = result.measures[0], {"dense": 28 * 28, "large": 11 * 11, "small": 3 * 3}
    told = [
        f"{summary.mean / seen[arm.name]:.0%} of the {seen[arm.name]} pixels ({base_label(arm)})"
        for arm, summary in summaries(result, extent)
    ]
    return f"{result.answer} Of what a unit sees that is {', '.join(told)}."


def answer_and_orders(result: StudyResult) -> str:
    """The answer, and what sets the runs in Keras apart beside the engine."""
    if "tensorflow" not in result.versions:
        return result.answer
    return (
        f"{result.answer} Keras on TensorFlow repeats one order of images in every epoch where a "
        "seed is set; convmill draws a new one."
    )


def at_seven_and_answer(result: StudyResult) -> str:
    """What windows as large as those of the claim are good for, and the answer."""
    arm = next(arm for arm in result.arms if arm.at == 7)
    told = [
        f"{measure.label} {mean_and_interval(measure, summary)}"
        for measure in result.measures
        if (summary := arm.summary(measure.name)) is not None
    ]
    return f"{capital(arm.label)}: {', '.join(told)}. {result.answer}"


CLAIMS = (
    Claim(
        "A convolution learns local patterns; a dense layer learns patterns of the whole image.",
        "locality",
        answer_in_shares,
    ),
    Claim(
        "What a convnet has learned in one place of the image it knows in every other; a dense "
        "net has to learn it there again.",
        "translation",
        everywhere_and_at_home,
    ),
    Claim(
        "So convnets need fewer training samples to generalize.",
        "data-efficiency",
    ),
    Claim(
        "Convnets learn spatial hierarchies: small patterns first, then larger patterns that are "
        "made of them.",
        "depth",
    ),
    Claim(
        "Padding keeps a map as large as the image; without it the borders get lost.",
        "borders",
    ),
    Claim(
        "Without pooling the last convolution sees 7x7 pixels of the image, too little: try to "
        "recognize a digit by looking through windows of 7x7 pixels only.",
        "windows",
        at_seven_and_answer,
    ),
    Claim(
        "Without pooling a Dense layer of 512 on the last map would have 15.86 million parameters: "
        "far too many for so small a model, and it would overfit heavily.",
        "dense-head",
        largest_and_answer,
    ),
    Claim(
        "Max pooling works better than average pooling and than strided convolutions.",
        "pooling",
    ),
    Claim(
        "The maximal presence of a pattern says more than its average presence.",
        "presence",
    ),
    Claim(
        "The small convnet reads 99.2 % of the test images rightly.",
        "spread",
        answer_and_orders,
    ),
)


def results(folder: Path) -> dict[str, StudyResult]:
    """The results that are there, by the study's name."""
    files = sorted(folder.glob("*.json"))
    return {
        file.stem: StudyResult.from_dict(json.loads(file.read_text(encoding="utf-8")))
        for file in files
    }


def claims_page(found: Mapping[str, StudyResult]) -> str:
    """All of docs/claims.md."""
    rows = "\n".join(_row(claim, found.get(claim.study)) for claim in CLAIMS)
    parts = [INTRODUCTION, f"| what is said | what was measured | study |\n|---|---|---|\n{rows}\n"]
    further = [name for name in found if name not in {claim.study for claim in CLAIMS}]
    if further:
        links = ", ".join(f"[{name}](studies/{name}.md)" for name in further)
        parts.append(f"Further studies: {links}.\n")
    return "\n".join(parts)


def _row(claim: Claim, result: StudyResult | None) -> str:
    if result is None:
        measured = f"not measured yet: `convmill study run {claim.study}`"
        return f"| {escaped(claim.words)} | {measured} | {claim.study} |"
    quick = QUICK if result.quick else ""
    link = f"[{claim.study}](studies/{claim.study}.md)"
    return f"| {escaped(claim.words)} | {escaped(claim.measured(result) + quick)} | {link} |"


def take(run: Path, folder: Path) -> None:
    """Puts the result of a finished study among the others.

    Raises:
        SystemExit: it is not finished, or would take the place of a full one with a quick one.
    """
    result = read(run)
    if not result.complete:
        raise SystemExit(f"{run}: {len(result.runs)} of {result.planned} runs are finished.")
    file = folder / f"{result.name}.json"
    if result.quick and file.exists() and not results(folder)[result.name].quick:
        raise SystemExit(f"{file} is of the full form. Received: the quick form in {run}.")
    folder.mkdir(exist_ok=True)
    file.write_text(json_text(result.to_dict()) + "\n", encoding="utf-8")


def pages(found: Mapping[str, StudyResult]) -> Iterator[tuple[str, bytes]]:
    """Files of docs/studies: a page for each result, and its pictures."""
    for name, result in found.items():
        yield from render(page_of(result), name).items()


def rebuild(docs: Path) -> None:
    """Writes all pages from the results in ``docs/studies``; pages and pictures of none go."""
    folder = docs / "studies"
    found = results(folder)
    files = dict(pages(found))
    for file in [*folder.glob("*.md"), *folder.glob("*.svg")]:
        if file.name not in files and file.name != "README.md":
            file.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    front = folder / "README.md"
    front.write_text(with_links(front.read_text(encoding="utf-8"), found), encoding="utf-8")
    (docs / "claims.md").write_text(claims_page(found), encoding="utf-8")


if __name__ == "__main__":
    for given in sys.argv[1:]:
        take(Path(given), DOCS / "studies")
    rebuild(DOCS)
