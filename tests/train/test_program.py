"""The third door from outside: ``python -m convmill`` runs untouched scripts and notebooks."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from convmill import script

ROOT = Path(__file__).resolve().parents[2]

# Prints how often compiled code ran, when the program ends.
COUNTING = """
    import atexit
    from convmill.runtime.program import Program
    _train, _runs = Program.train, []
    Program.train = lambda *args, **kwargs: (_runs.append(1), _train(*args, **kwargs))[1]
    atexit.register(lambda: print("compiled runs:", len(_runs)))
"""
TRAINING = """
    import numpy as np
    import keras
    from keras import layers
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(np.ones((8, 4)), np.zeros((8, 2)), verbose=2)
"""


def run(*arguments, folder, convmill=True, **environment):
    """``python [-m convmill] arguments`` in a folder."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, *(["-m", "convmill"] if convmill else []), *arguments]
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=600
    )


def write(folder, name, *sources):
    path = folder / name
    path.write_text("".join(textwrap.dedent(source) for source in sources))
    return path


def write_notebook(folder, name, *cells):
    """A notebook with a text cell, then these code cells."""
    code = [
        {"cell_type": "code", "source": textwrap.dedent(cell).strip().splitlines(keepends=True)}
        for cell in cells
    ]
    content = {"nbformat": 4, "cells": [{"cell_type": "markdown", "source": ["# Text"]}, *code]}
    path = folder / name
    path.write_text(json.dumps(content))
    return path


# What TensorFlow asks before it imports Keras.
LOOKING = """
    import importlib.util
    importlib.util.find_spec("keras")
"""


@pytest.mark.parametrize("first", ["", LOOKING])
def test_an_untouched_script_trains_compiled(tmp_path, first):
    write(tmp_path, "net.py", first, COUNTING, TRAINING)
    done = run("net.py", folder=tmp_path, CONVMILL_STRICT="1")
    assert done.returncode == 0, done.stderr
    assert "1/1 - " in done.stdout
    assert done.stdout.endswith("compiled runs: 1\n")
    assert done.stderr == ""


def test_a_script_chooses_keras_backend_itself(tmp_path):
    """Keras is not imported before the script does it."""
    write(
        tmp_path,
        "first.py",
        """
        import sys
        print([name for name in ("keras", "jax", "numpy") if name in sys.modules])
    """,
    )
    assert run("first.py", folder=tmp_path).stdout == "[]\n"


PROGRAMS = {
    "arguments": """
        import sys
        print(sys.argv, __name__, __file__, sys.path[0])
    """,
    "exit code": "import sys; sys.exit(7)",
    "exit message": 'raise SystemExit("no data")',
    "exception": """
        def divide():
            return 1 / 0

        divide()
    """,
    "cause": """
        try:
            {}["key"]
        except KeyError as error:
            raise ValueError("later") from error
    """,
    "syntax": "x = (",
    "interrupt": "raise KeyboardInterrupt",
    "pickle": """
        import pickle

        class Here:
            pass

        print(type(pickle.loads(pickle.dumps(Here()))))
    """,
    "neighbour": "import neighbour; print(neighbour.VALUE)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_is_as_python_itself_gives_it(name, tmp_path):
    write(tmp_path, "program.py", PROGRAMS[name])
    write(tmp_path, "neighbour.py", "VALUE = 3")
    arguments = ("program.py", "--epochs", "2")
    ours = run(*arguments, folder=tmp_path)
    theirs = run(*arguments, folder=tmp_path, convmill=False)
    assert ours.returncode == theirs.returncode
    assert ours.stdout == theirs.stdout
    assert ours.stderr == theirs.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals end processes so on POSIX only")
def test_a_shell_sees_that_ctrl_c_ended_the_script(tmp_path):
    write(tmp_path, "program.py", "print('shown'); raise KeyboardInterrupt")
    done = run("program.py", folder=tmp_path)
    assert done.returncode == -signal.SIGINT
    assert done.stdout == "shown\n"


def test_a_script_in_another_folder(tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    write(folder, "program.py", "import neighbour, sys; print(sys.argv[0], sys.path[0])")
    write(folder, "neighbour.py", "")
    done = run("deep/program.py", folder=tmp_path)
    assert done.stdout.split() == ["deep/program.py", str(folder)]


def test_a_script_that_is_not_there(tmp_path):
    ours = run("nothing.py", folder=tmp_path)
    theirs = run("nothing.py", folder=tmp_path, convmill=False)
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)


def test_a_notebook_trains_compiled(tmp_path):
    cells = ["%load_ext convmill", COUNTING, TRAINING, "model.count_params()"]
    write_notebook(tmp_path, "net.ipynb", *cells)
    done = run("net.ipynb", folder=tmp_path, CONVMILL_STRICT="1")
    assert done.returncode == 0, done.stderr
    assert "1/1 - " in done.stdout
    assert "\n10\n" in done.stdout  # the value of the last line of a cell
    assert done.stdout.endswith("compiled runs: 1\n")
    assert done.stderr == ""


def test_a_notebook_s_magics_are_passed_over(tmp_path):
    write_notebook(
        tmp_path,
        "magic.ipynb",
        "%matplotlib inline\nvalue = 3",
        "%%bash\nexit 5",
        "!pip install nothing\nif value:\n    %time\n    print('value', value)",
        '%%time\ntext = """\n%not a magic\n"""\nprint(text.strip())',
        "value;",
        "display(value + 1)",
    )
    done = run("magic.ipynb", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["value 3", "%not a magic", "4"]
    passed_over = [line.partition("passed over ")[2] for line in done.stderr.splitlines()]
    assert passed_over == ["'%matplotlib inline'", "'%%bash'", "'!pip install nothing'"]


def test_an_error_in_a_notebook_shows_its_cell(tmp_path):
    write_notebook(tmp_path, "wrong.ipynb", "x = 0", "y = 1\nprint(y / x)")
    done = run("wrong.ipynb", folder=tmp_path)
    assert done.returncode == 1
    assert 'wrong.ipynb[2]", line 2' in done.stderr
    assert "print(y / x)" in done.stderr
    assert "script.py" not in done.stderr
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_file_that_is_no_notebook(tmp_path):
    (tmp_path / "net.ipynb").write_text("[" * 100_000)
    done = run("net.ipynb", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "convmill: net.ipynb is no Jupyter notebook of format 4. "
        "Received: JSON that is nested too deep.\n"
    )


def test_a_folder_that_is_called_a_notebook(tmp_path):
    (tmp_path / "net.ipynb").mkdir()
    done = run("net.ipynb", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("Is a directory\n")
    assert len(done.stderr.splitlines()) == 1


# IPython is found by nobody, as where it is not installed.
WITHOUT_IPYTHON = """
    from importlib.machinery import PathFinder
    find = PathFinder.find_spec
    PathFinder.find_spec = classmethod(
        lambda cls, name, *rest: None if name.startswith("IPython") else find(name, *rest))
"""
USES_IPYTHON = {
    "from IPython import get_ipython\n"
    "from IPython.display import HTML, Image, clear_output, display": [],
    "clear_output(wait=True)\ndisplay(HTML('<b>a &lt; b</b>'), Image(filename='net.png'), [1])": [
        "a < b",
        "<Image: net.png>",
        "[1]",
    ],
    "from IPython.core.interactiveshell import InteractiveShell\n"
    "InteractiveShell.ast_node_interactivity = 'all'": [],
    "display('once', display_id=True).update('again')": ["'once'", "'again'"],
    "get_ipython().run_line_magic('matplotlib', 'inline')\nget_ipython().system('ls')": [],
    "get_ipython().run_cell_magic('time', '', 'value = 5\\nprint(value)')\n"
    "print(value + get_ipython().run_line_magic('time', 'value * 2'))": ["5", "15"],
    "if get_ipython(): raise SystemExit('in a notebook')\n"
    "print('IPKernelApp' in get_ipython().config)": ["False"],
    "import keras, tqdm_like": ["alone"],
}


@pytest.mark.parametrize("name", ["net.ipynb", "net.py"])
def test_ipython_where_it_is_not_installed(tmp_path, name):
    if name.endswith(".py"):
        (tmp_path / name).write_text("\n".join(USES_IPYTHON))
    else:
        write_notebook(tmp_path, name, *USES_IPYTHON)
    write(tmp_path, "sitecustomize.py", WITHOUT_IPYTHON)
    library = tmp_path / "site-packages"
    library.mkdir()
    write(
        library,
        "tqdm_like.py",
        """
        import sys
        del sys.modules["IPython"]
        try:
            import IPython
        except ImportError:
            print("alone")  # a library that asks learns that it does not run in a notebook
    """,
    )
    done = run(name, folder=tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path}:{library}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line for lines in USES_IPYTHON.values() for line in lines]
    assert done.stderr.splitlines() == [
        "convmill: IPython is not installed; what notebooks show is printed.",
        "convmill: passed over '%matplotlib inline'",
        "convmill: passed over '!ls'",
    ]


def test_a_script_that_asks_whether_it_runs_in_a_notebook(tmp_path):
    write(
        tmp_path,
        "program.py",
        """
        try:
            get_ipython()
            print("in a notebook")
        except NameError:
            print("in none")
    """,
    )
    assert run("program.py", folder=tmp_path).stdout == "in none\n"


def test_a_script_in_ipython_s_syntax(tmp_path):
    write(tmp_path, "net.py", "%matplotlib inline\n!pip install \\\n  nothing\n\n1 / 0  # 5\n")
    done = run("net.py", folder=tmp_path)
    assert done.returncode == 1
    assert 'net.py", line 5, in <module>\n    1 / 0' in done.stderr
    assert "passed over '%matplotlib inline'" in done.stderr
    assert "script.py" not in done.stderr


def test_other_words_go_to_the_command_line(tmp_path):
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0
    assert "train" in done.stdout


def test_what_counts_as_a_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tool").write_text("")
    (tmp_path / "train").mkdir()
    assert script.is_program("any.py")
    assert script.is_program("any.ipynb")
    assert script.is_program("tool")
    assert not script.is_program("train")
    assert not script.is_program("--epochs")
