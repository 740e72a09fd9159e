"""Reading notebooks, and files that are none."""

from __future__ import annotations

import json

import pytest

from convmill.notebook import NotANotebook, read_notebook


def notebook(*cells, **more):
    return json.dumps({"nbformat": 4, "cells": list(cells), **more}).encode()


def code(source):
    return {"cell_type": "code", "source": source}


def test_code_cells_in_order():
    text = {"cell_type": "markdown", "source": ["# Title"]}
    found = read_notebook("net.ipynb", notebook(text, code("a = 1"), text, code(["b\n", "c"])))
    assert [(cell.name, cell.source) for cell in found] == [
        ("net.ipynb[1]", "a = 1"),
        ("net.ipynb[2]", "b\nc"),
    ]
    assert read_notebook("net.ipynb", notebook()) == []
    assert read_notebook("net.ipynb", b"\xef\xbb\xbf" + notebook(code(""))) != []  # a BOM


@pytest.mark.parametrize("name", ["python", "Python", "python3", ""])
def test_notebooks_in_python(name):
    content = notebook(code("a"), metadata={"kernelspec": {"language": name}})
    assert len(read_notebook("net.ipynb", content)) == 1
    for metadata in ({}, None, {"kernelspec": None}, {"kernelspec": {}}, 3):
        assert len(read_notebook("net.ipynb", notebook(code("a"), metadata=metadata))) == 1


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"", "no JSON (Expecting value"),
        (b"not json", "no JSON (Expecting value"),
        (b'{"cells": [', "no JSON (Expecting value"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "bytes that are no UTF-8"),
        (b"\x00" * 99, "no JSON (Expecting value"),
        (b'{"cells": ' + b"9" * 5000 + b"}", "no JSON (Exceeds the limit"),
        (b"[" * 200_000, "JSON that is nested too deep"),
        (b'{"cells":' * 200_000, "JSON that is nested too deep"),
        (b"[]", "JSON without a list of cells"),
        (b"3", "JSON without a list of cells"),
        (b"1e999999", "JSON without a list of cells"),
        (b"NaN", "JSON without a list of cells"),
        (b"{}", "JSON without a list of cells"),
        (b'{"cells": {"a": 1}}', "JSON without a list of cells"),
        (b'{"cells": "code"}', "JSON without a list of cells"),
        (b'{"cells": [3]}', "JSON without a list of cells"),
        (b'{"worksheets": [{"cells": []}], "nbformat": 3}', "JSON without a list of cells"),
        (notebook(code("a"), {"cell_type": "code"}), "code cell 2 without a source"),
        (notebook(code(None)), "code cell 1 without a source"),
        (notebook(code([1])), "code cell 1 without a source"),
        (notebook(code({"a": 1})), "code cell 1 without a source"),
    ],
)
def test_what_is_no_notebook(content, received):
    with pytest.raises(NotANotebook) as raised:
        read_notebook("net.ipynb", content)
    said = str(raised.value)
    assert said.startswith(f"net.ipynb is no Jupyter notebook of format 4. Received: {received}")
    assert len(said.splitlines()) == 1


def test_a_notebook_in_another_language():
    content = notebook(code("x <- 3"), metadata={"kernelspec": {"language": "R"}})
    with pytest.raises(
        NotANotebook, match=r"net\.ipynb is a notebook in R; only Python can be run"
    ):
        read_notebook("net.ipynb", content)
