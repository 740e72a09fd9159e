"""The studies that come with convmill, and those in files of the user's."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convmill.failure import describe, nearest
from convmill.kinds import check_path
from convmill.study.errors import StudyError
from convmill.study.spec import Spec, read_spec

SHIPPED = Path(__file__).parent / "shipped"
SUFFIX = ".toml"
# In the order in which a lesson would take them; others follow by name.
ORDER = (
    *("pooling", "borders", "data-efficiency", "depth", "translation"),
    *("windows", "dense-head", "spread", "presence", "locality"),
)


def names() -> list[str]:
    """The names of the studies that come with convmill."""
    found = {path.stem for path in SHIPPED.glob(f"*{SUFFIX}")}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def load(study: str | Path | Mapping[str, Any], quick: bool = False) -> Spec:
    """A study by its name, by its file's path, or from the table that such a file holds.

    Files that it names are looked for from its own folder, then from where the process stands.

    Raises:
        TypeError: ``study`` is none of these.
        StudyError: there is none, it cannot be read, or something in it is wrong.
    """
    if isinstance(study, Mapping):
        return read_spec(study, str(study.get("title", "study")), quick)
    check_path("study", study, "the name of a study, its table, or the path of its file")
    path = find(study)
    return read_spec(read_table(path), path.stem, quick, path.parent)


def find(study: str | Path) -> Path:
    """Where the file of a study lies."""
    shipped = SHIPPED / f"{study}{SUFFIX}"
    if isinstance(study, str) and study in names():
        return shipped
    path = Path(study)
    if path.suffix == SUFFIX:
        return path
    raise StudyError(
        f"There is no study '{study}'.{nearest(str(study), names())} Studies are: "
        f"{', '.join(names())}; a study of your own is a file that ends in {SUFFIX}."
    )


def read_table(path: Path) -> dict[str, Any]:
    """What a TOML file holds; StudyError where it cannot be read, with the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(describe(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StudyError(f"{path} is no TOML file. {error}") from error
