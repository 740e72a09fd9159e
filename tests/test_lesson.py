"""The lesson: every picture in it is written by a command beside it, and every command is one."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from convmill.cli.app import cli

ROOT = Path(__file__).parent.parent
LESSON = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rebuild() -> ModuleType:
    return load("rebuild_lesson")


def test_every_picture_is_there_and_has_its_command(rebuild):
    pictures = rebuild.PICTURE.findall(LESSON)
    assert len(pictures) >= 10
    assert rebuild.missing_pictures(LESSON) == []
    assert [path for path in pictures if not (ROOT / "docs" / path).is_file()] == []


def test_a_picture_without_a_command_is_missed(rebuild):
    assert rebuild.missing_pictures("![x](lesson/x.png)") == ["lesson/x.png"]


def test_every_command_is_one_that_the_command_line_takes(rebuild):
    found = [
        words for block in rebuild.BLOCK.finditer(LESSON) for words in rebuild.commands(block[1])
    ]
    assert len(found) > 10
    for program, *words in found:
        assert program == "convmill"
        command: click.Command = cli
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        assert [word for word in words if word.startswith("--") and word not in options] == []


def test_outputs_are_put_beneath_their_commands(rebuild, tmp_path):
    text = (
        "before\n\n```sh\nconvmill data list\n```\n\n```text\nold\n```\n\nafter ![](x)\n"
        "```sh\nconvmill data \\\n    list\n```\n\n<!-- output -->\nold\n<!-- end of output -->\n"
    )
    new = rebuild.rebuild(text, "digits")
    assert new.startswith("before\n\n```sh\nconvmill data list\n```\n\n```text\n")
    assert "old" not in new
    assert new.count("fashion_mnist") == 2
    assert "after ![](x)\n```sh\nconvmill data \\\n    list\n```\n\n<!-- output -->\n" in new
    assert rebuild.rebuild(new, "digits") == new


def test_outputs_are_there():
    for block in re.findall(r"```text\n(.*?)```", LESSON, re.DOTALL):
        assert block.strip()
    assert "<!-- output -->\n<!--" not in LESSON


def test_the_notebook_is_the_one_that_its_script_writes():
    text = (ROOT / "examples" / "lesson.ipynb").read_text(encoding="utf-8")
    script = (ROOT / "docs" / "lesson_notebook.py").read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    assert len(cells) > 10
    for cell in cells:
        assert "".join(cell["source"]) in script
        if cell["cell_type"] == "code":
            assert cell["outputs"]
            assert all(output["output_type"] != "error" for output in cell["outputs"])
