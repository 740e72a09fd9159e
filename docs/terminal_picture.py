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
    console = Console(record=True, width=options.width, file=StringIO(), force_terminal=True)
    for line in AnsiDecoder().decode(options.transcript.read_text().rstrip()):
        console.print(line, soft_wrap=True)
    console.save_svg(str(options.picture), title=options.title)


if __name__ == "__main__":
    main()
