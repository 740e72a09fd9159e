"""Models that a user's function builds: where their script is wrong."""

from __future__ import annotations

import pytest

from convmill.failure import Failure
from convmill.user_models import build_model

GIVEN = {"input_shape": (8, 8, 1), "classes": 3}
SCRIPT = """import os

def broken():
    return 1 / 0

def moved():
    os.chdir("..")
    return broken()
"""


@pytest.mark.parametrize("folder", ["", "./", "nets/../", "{here}/"])
@pytest.mark.parametrize("function", ["broken", "moved"])
def test_errors_name_their_line_and_the_script_as_it_was_given(
    tmp_path, monkeypatch, folder, function
):
    (tmp_path / "nets").mkdir()
    (tmp_path / "net.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    script = folder.format(here=tmp_path) + "net.py"
    with pytest.raises(Failure) as raised:
        build_model(f"{script}:{function}", GIVEN)
    shown = script.removeprefix("./")
    assert raised.value.message == f"{shown}, line 4: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("absolute", [False, True])
def test_mistakes_in_the_grammar_name_their_line(tmp_path, monkeypatch, absolute):
    path = tmp_path / "bad.py"
    path.write_text("x = 1\ndef build(:\n")
    monkeypatch.chdir(tmp_path)
    script = str(path) if absolute else path.name
    with pytest.raises(Failure) as raised:
        build_model(f"{script}:build", GIVEN)
    assert raised.value.message.startswith(f"{script}, line 2: SyntaxError: ")


def test_a_script_that_is_none_is_named_as_it_was_given(tmp_path, monkeypatch):
    (tmp_path / "net.txt").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure) as raised:
        build_model("net.txt:broken", GIVEN)
    assert raised.value.message == "net.txt is no Python script: its name must end in .py."
