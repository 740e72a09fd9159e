"""A list of the pages of studies, for the front page of the folder that they lie in."""

from __future__ import annotations

import re
from collections.abc import Mapping

from convmill.inspection.markdown import escaped
from convmill.study.result import StudyResult

HEADING = "## Results"
SECTION = re.compile(rf"^{HEADING}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
NEXT = re.compile(r"^## |\Z", re.MULTILINE)


def with_links(text: str, found: Mapping[str, StudyResult]) -> str:
    """A page in Markdown whose section "Results" lists the pages of the results ``found``, by their
    names. It takes the place of the one that is there, else it stands before the first section."""
    without = SECTION.sub("", text)
    if not found:
        return without
    links = "\n".join(
        f"- [{escaped(result.title)}]({name}.md): {escaped(result.question)}"
        for name, result in found.items()
    )
    place = NEXT.search(without)
    start = len(without) if place is None else place.start()
    head = without[:start].rstrip("\n")
    whole = f"{head}\n\n{HEADING}\n\n{links}\n\n{without[start:]}"
    return whole.strip("\n") + "\n"
