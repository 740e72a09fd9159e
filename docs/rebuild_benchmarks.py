"""Writes docs/benchmarks.md, its pictures and the README's table of nets from records.

    python docs/rebuild_benchmarks.py [FOLDER]

FOLDER holds what the measuring commands of benchmarks/ wrote with ``--json``, under any names that
end in .json; a part that is not there keeps out of the page. By default it is docs/benchmarks/, and
the page is docs/benchmarks.md; of another one it is FOLDER.md, and the README stays as it is. To
measure one part anew, write its record over the old one, and run this. `make bench` measures all.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.page import pictures, targets  # noqa: E402
from benchmarks.page.engines import means  # noqa: E402
from benchmarks.page.gathered import Gathered, gather  # noqa: E402
from benchmarks.page.sections import SECTIONS  # noqa: E402
from benchmarks.page.text import prose, section, table  # noqa: E402
from benchmarks.record import RecordError  # noqa: E402
from benchmarks.report import ratio  # noqa: E402
from benchmarks.results import WHAT  # noqa: E402

FOLDER, README = ROOT / "docs" / "benchmarks", ROOT / "README.md"
BLOCK = re.compile(r"(?<=<!-- nets -->\n).*?(?=<!-- end of nets -->)", re.DOTALL)


def page(gathered: Gathered) -> str:
    """All of it, as Markdown."""
    introduction = prose(
        "`make bench` measures; `python docs/rebuild_benchmarks.py` made this page of the raw "
        "samples in [docs/benchmarks/](benchmarks/). Parts are measured at moments of their own, "
        "maybe on other code: each says when, on which machine and of which commit. Figures are "
        "medians, with the least and the greatest."
    )
    parts = [f"# Benchmarks\n\n{introduction}"]
    tried = "What was tried for them stands in [performance-log.md](performance-log.md)."
    parts += [section("Targets", table(targets.rows(gathered)), tried)]
    parts += [text for each in SECTIONS if (text := each(gathered)) is not None]
    return "\n\n".join(parts) + "\n"


def short_table(gathered: Gathered) -> str:
    """The README's: ratios alone."""
    codes = sorted({record.code or "unknown" for record in gathered.records["nets"]})
    dates = sorted({record.machine["date"] for record in gathered.records["nets"]})
    about = (
        f"All nets, over the best of their peers ([docs/benchmarks.md](docs/benchmarks.md): the "
        f"commands, the machine and all ranges; code {', '.join(f'`{code}`' for code in codes)}, "
        f"{', '.join(dates)}). Geometric means: {means(gathered)}."
    )
    rows = [["net", *WHAT]]
    for name, net in gathered.nets.items():
        rows.append([name, *(ratio(net.result.over_best(what)) for what in WHAT)])
    return f"{prose(about)}\n\n{table(rows)}\n"


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, metavar="FOLDER")
    folder = parser.parse_args().folder
    try:
        gathered = gather(folder)
    except RecordError as error:
        raise SystemExit(str(error)) from None
    if not gathered.records:
        raise SystemExit(f"There are no records in {folder}: measure with `make bench`.")
    pictures.draw(gathered, folder)
    text = page(gathered).replace(f"]({FOLDER.name}/", f"]({folder.name}/")
    folder.with_suffix(".md").write_text(text, encoding="utf-8")
    if gathered.nets and folder.resolve() == FOLDER.resolve():
        write_readme(short_table(gathered))


def write_readme(short: str) -> None:
    """Put the table of nets into its place."""
    readme = README.read_text(encoding="utf-8")
    if not BLOCK.search(readme):
        raise SystemExit("README.md has no <!-- nets --> and <!-- end of nets -->.")
    README.write_text(BLOCK.sub(lambda _: short, readme), encoding="utf-8")


if __name__ == "__main__":
    main()
