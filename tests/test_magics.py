"""IPython's own syntax becomes Python, line by line."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmill.magics import plain_python


def plain(source):
    """What becomes of a cell, without the line end behind it, and what is passed over."""
    said: list[str] = []
    found = plain_python(source, said.append)
    ast.parse(found)
    return found.removesuffix("\n"), said


@pytest.mark.parametrize(
    "line",
    [
        "%matplotlib inline",
        "%config InlineBackend.figure_format = 'retina'",
        "%load_ext autoreload",
        "%pip install keras",
        "!pip install keras",
        "!!ls",
        "!ls | grep x?",
        "%ls",
        "%cd",
        "%env",
        "%env HOME",
        "model.fit?",
        "model.fit??",
        "?model",
        "??model.fit",
        "np.*load*?",
    ],
)
def test_lines_that_are_passed_over(line):
    assert plain(line) == ("pass", [line])
    assert plain(f"if x:\n    {line}\ny") == ("if x:\n    pass\ny", [line])


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("%time model.fit(x)", "model.fit(x)"),
        ("%time history = model.fit(x, y)", "history = model.fit(x, y)"),
        ("history = %time model.fit(x)", "history = model.fit(x)"),
        ("%timeit -n 10 -r3 f(a -b)", "f(a -b)"),
        ("%prun -q f()", "f()"),
        ("%time", "pass"),
        ("%timeit -q", "pass"),
        ("%env KERAS_BACKEND=jax", "__import__('os').environ['KERAS_BACKEND'] = 'jax'"),
        ("%set_env A b c", "__import__('os').environ['A'] = 'b c'"),
        (
            "%cd 'my nets'",
            "__import__('os').chdir(__import__('os').path.expanduser('my nets'))",
        ),
        ("%load_ext convmill", "__import__('convmill').load_ipython_extension(None)"),
        ("%unload_ext convmill", "__import__('convmill').unload_ipython_extension(None)"),
    ],
)
def test_lines_that_keep_their_meaning(line, python):
    assert plain(line) == (python, [])


def test_commands_whose_output_is_wanted():
    assert plain("files = !ls\na.b = %pwd") == (
        "files = None\na.b = None",
        ["files = !ls", "a.b = %pwd"],
    )


def test_commands_on_several_lines():
    source = "!pip install \\\n   a \\\n   b\nx = 1\n%time f(x, \\\n  2)"
    python = "pass\n\n\nx = 1\nf(x, \\\n  2)"
    assert plain(source) == (python, ["!pip install \\"])


@pytest.mark.parametrize(
    "first", ["%%time", "%%timeit -n 3", "%%capture out --no-stderr", "%%prun"]
)
def test_cells_that_are_python(first):
    assert plain(f"\n{first}\nx = 1") == ("\npass\nx = 1", [])


@pytest.mark.parametrize("first", ["%%bash", "%%html", "%%writefile net.py", "%%javascript", "%%"])
def test_cells_that_are_not(first):
    assert plain(f"{first}\n<b> no Python") == ("", [first])


@pytest.mark.parametrize(
    "source",
    [
        "text = '''\n%matplotlib inline\n!ls\nhelp?\n'''",
        "a = (7\n% 2)",
        "a = 7 \\\n% 2",
        "a = [1,  # why?\n2]",
        "f(x)  # what?",
        "a = b = c != d",
        "print('x = !ls')",
        "a != b",
        "x = 1\n\n\n",
        "def f():\n\x0c\n    return 3",
        "",
    ],
)
def test_python_stays_as_it_is(source):
    assert plain(source) == (source, [])


@given(st.text(st.sampled_from("ab=%!? \n\\'\"()#:")))
def test_lines_keep_their_number(source):
    found = plain_python(source, lambda line: None)
    assert found == "" or found.count("\n") == source.count("\n") + 1
