"""Runs every command of docs/lesson.md again and puts what it prints beneath it.

    python docs/rebuild_lesson.py [--check]

A block of ``sh`` holds commands; the block of ``text`` behind it, or what stands between
``<!-- output -->`` and ``<!-- end of output -->``, is what they printed. Pictures are written where
the commands say, from the root of the repository. Where MNIST cannot be had, `digits` takes its
place, and the text's figures are no longer those of the pictures: a line says so.
``--check`` runs nothing and fails where a picture that the lesson shows is written by no command.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from pathlib import Path

from convmill import data
from convmill.cli import main as convmill

ROOT = Path(__file__).parent.parent
LESSON = ROOT / "docs" / "lesson.md"
WIDTH = "100"
BLOCK = re.compile(
    r"```sh\n(?P<commands>.*?)```\n"
    r"(?P<gap>\s*)"
    r"(?P<output>```text\n.*?```\n|<!-- output -->\n.*?<!-- end of output -->\n)?",
    re.DOTALL,
)
PICTURE = re.compile(r"!\[[^]]*\]\(([^)]+)\)")


def rebuild(text: str, data_name: str) -> str:
    """The lesson with the output of its commands, run on ``data_name``."""
    return BLOCK.sub(lambda block: _run_block(block, data_name), text)


def _run_block(block: re.Match[str], data_name: str) -> str:
    printed = "".join(_run(command, data_name) for command in commands(block["commands"]))
    head = f"```sh\n{block['commands']}```\n{block['gap']}"
    output = block["output"]
    if not output:
        return head
    if output.startswith("```"):
        return f"{head}```text\n{printed.rstrip()}\n```\n"
    return f"{head}<!-- output -->\n{printed.rstrip()}\n<!-- end of output -->\n"


def commands(block: str) -> list[list[str]]:
    """Arguments of each command of a block; a backslash at a line's end goes on with it."""
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def _run(arguments: list[str], data_name: str) -> str:
    """What one command prints."""
    program, *rest = arguments
    if program != "convmill":
        raise SystemExit(f"the lesson runs only convmill. Received: {shlex.join(arguments)}")
    rest = [data_name if word == "mnist" else word for word in rest]
    print("convmill", shlex.join(rest), flush=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = convmill(rest)
    if code:
        raise SystemExit(f"convmill {shlex.join(rest)} ended with {code}")
    return printed.getvalue()


def missing_pictures(text: str) -> list[str]:
    """Pictures that the lesson shows and no command of it writes."""
    written = {
        arguments[place + 1]
        for block in BLOCK.finditer(text)
        for arguments in commands(block["commands"])
        for place, word in enumerate(arguments[:-1])
        if word == "--out"
    }
    return [path for path in PICTURE.findall(text) if f"docs/{path}" not in written]


def main() -> None:
    """Rebuild the lesson, or check it."""
    text = LESSON.read_text(encoding="utf-8")
    missing = missing_pictures(text)
    if missing:
        raise SystemExit(f"no command writes {', '.join(missing)}")
    if "--check" in sys.argv[1:]:
        return
    os.chdir(ROOT)
    os.environ |= {"COLUMNS": WIDTH, "NO_COLOR": "1"}
    Path("build").mkdir(exist_ok=True)
    images, fallback = data.load_mnist_or_digits()
    LESSON.write_text(rebuild(text, images.name), encoding="utf-8")
    if fallback:
        print(f"{fallback}\nThe lesson's pictures are of digits now; its text speaks of MNIST.")


if __name__ == "__main__":
    main()
