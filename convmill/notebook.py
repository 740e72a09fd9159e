"""Reading Jupyter notebooks: the code cells of one, or why it is none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

SUFFIX = ".ipynb"


@dataclass(frozen=True)
class Cell:
    """A code cell as it stands in the notebook; ``name`` stands for its file in tracebacks."""

    name: str
    source: str


class NotANotebook(Exception):
    """The file is no notebook that we read; the text says why."""


def read_notebook(path: str, content: bytes) -> list[Cell]:
    """The code cells of a notebook, format 4, that is the content of the file at ``path``.

    Raises:
        NotANotebook: it is another kind of file, or a notebook in another language.
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _not_one(path, "bytes that are no UTF-8") from error
    except RecursionError as error:
        raise _not_one(path, "JSON that is nested too deep") from error
    except ValueError as error:
        raise _not_one(path, f"no JSON ({error})") from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise _not_one(path, "JSON without a list of cells")
    language = _language(notebook)
    if "python" not in language.lower():
        raise NotANotebook(f"{path} is a notebook in {language}; only Python can be run.")
    code = [cell for cell in cells if cell.get("cell_type") == "code"]
    return [
        Cell(f"{path}[{number}]", _source(path, cell, number))
        for number, cell in enumerate(code, 1)
    ]


def _source(path: str, cell: dict[str, Any], number: int) -> str:
    source = cell.get("source")
    lines = [source] if isinstance(source, str) else source
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise _not_one(path, f"code cell {number} without a source")
    return "".join(lines)


def _language(notebook: dict[str, Any]) -> str:
    """What the notebook says that it is written in; Python where it does not."""
    value: Any = notebook.get("metadata")
    for key in ("kernelspec", "language"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value else "python"


def _not_one(path: str, received: str) -> NotANotebook:
    return NotANotebook(f"{path} is no Jupyter notebook of format 4. Received: {received}.")
