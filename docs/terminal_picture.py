"""Turns what a terminal showed into a picture of the README.

tmux capture-pane -e -p -S - > transcript.txt
python docs/terminal_picture.py transcript.txt docs/terminal.svg --title "make demo"
"""

import argparse
from io import StringIO
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console


def main() -> None:
    """Read the transcript with its colours, write an SVG."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("transcript", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--title", default="convmill")
    parser.add_argument("--width", type=int, default=84)
    options = parser.parse_args()
    draw(options.transcript.read_text(), options.picture, options.title, options.width)


def draw(transcript: str, picture: Path, title: str, width: int) -> None:
    """Writes an SVG of what a terminal of ``width`` columns showed."""
    console = Console(record=True, width=width, file=StringIO(), force_terminal=True)
    for line in AnsiDecoder().decode(transcript.rstrip()):
        console.print(line, soft_wrap=True)
    # the same name for the same picture: else rich numbers its styles anew each time
    console.save_svg(str(picture), title=title, unique_id=f"terminal-{picture.stem}")


if __name__ == "__main__":
    main()
