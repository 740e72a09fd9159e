"""How all pictures look: one size, one set of colours, a light and a dark ground.

A picture is drawn inside ``drawing``, which gives Matplotlib our settings and takes them back, so
that those of the user's own figures stay as they are. pyplot is never used: it would keep every
figure in memory and ask for a screen.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from cycler import cycler  # Matplotlib's own dependency
from matplotlib import rcParams, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextToPath
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

# Inches. At 100 pixels an inch, as on a page 700 pixels wide, 10 points are 14 pixels.
WIDTH = 7.0
NARROW = 3.6  # of a phone, whose page is not to be made smaller
SHOWN_DPI = 100
SAVED_DPI = 200  # twice as fine, for sharp screens

TEXT_SIZE = 10.0
SMALL_SIZE = 8.5
TITLE_SIZE = 12.0
POINTS_PER_INCH = 72
THIN = 0.4  # points
LETTER = 0.62  # a digit's width in parts of its size
MARGIN = 0.12  # inches
HINTED = 1.04  # fitting letters to pixels makes text wider, by so much at most
BOLD = 1.15  # bold letters are wider than plain ones, by so much
# What a line of text is not broken within: Python counts the space before a % among the others.
UNBROKEN = re.compile("(?:\\S|\N{NARROW NO-BREAK SPACE})+")

# Colour maps that people see alike who do not tell red from green: cividis was made for that
# (Nunez, Anderton and Renslow, 2018); of ColorBrewer's diverging ones RdBu is safe (Brewer, 2003).
SEQUENTIAL = "cividis"
DIVERGING = "RdBu_r"
GREY = "gray"
COLOURS = 3  # channels

# Matplotlib brings DejaVu Sans. Letters that it lacks, of Chinese, Japanese and Korean names, are
# taken from those of these that the machine has: of Linux, macOS and Windows.
FONT = "DejaVu Sans"
FURTHER_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Malgun Gothic",
)


@dataclass(frozen=True)
class Theme:
    """Colours of one ground. ``lines`` are for data, the most legible on this ground first."""

    ground: str
    ink: str
    faint: str
    lines: tuple[str, ...]

    @property
    def first(self) -> str:
        """The colour of the one thing that a picture is about."""
        return self.lines[0]

    @property
    def second(self) -> str:
        """The colour of what it is compared with."""
        return self.lines[1]


# Okabe and Ito's colours (Color Universal Design, 2008).
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

LIGHT = Theme(
    ground="#FFFFFF",
    ink="#1A1A1A",
    faint="#8A8A8A",
    lines=(BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#1A1A1A"),
)
DARK = Theme(
    ground="#15181C",
    ink="#E8E8E8",
    faint="#80868D",
    lines=(SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILION, "#E8E8E8"),
)


class Picture(Figure):
    """A Matplotlib figure that shows itself in notebooks and keeps its look when it is saved."""

    theme: Theme = LIGHT

    def savefig(self, fname: Any, **options: Any) -> None:
        """Matplotlib's ``savefig``, at ``SAVED_DPI``; the same picture gives the same bytes."""
        options.setdefault("dpi", SAVED_DPI)
        if _is_svg(fname, options):
            options["metadata"] = {"Date": None} | (options.get("metadata") or {})
        with _settings(self.theme):
            super().savefig(fname, **options)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture as a PNG, and the size at which a notebook shows it, in pixels."""
        content = io.BytesIO()
        self.savefig(content, format="png")
        width, height = (round(inches * SHOWN_DPI) for inches in self.get_size_inches())
        return content.getvalue(), {"width": width, "height": height}


def _is_svg(fname: Any, options: dict[str, Any]) -> bool:
    return str(options.get("format") or fname).lower().endswith("svg")


@contextmanager
def drawing(height: float, *, width: float = WIDTH, dark: bool = False) -> Iterator[Picture]:
    """A new picture, ``width`` x ``height`` inches, and our settings for what is drawn in it.

    Its axes are arranged by Matplotlib's constrained layout, once, at the end. ::

        with drawing(3.5, dark=dark) as picture:
            axes = picture.subplots()
            axes.plot(values, color=picture.theme.first)
        return picture
    """
    theme = DARK if dark else LIGHT
    with _settings(theme):
        engine = ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN)
        picture = Picture(figsize=(width, height), dpi=SHOWN_DPI, layout=engine)
        picture.theme = theme
        FigureCanvasAgg(picture)
        yield picture
        # Another round would move the axes a little, and each save would give other bytes.
        picture.draw_without_rendering()
        picture.set_layout_engine("none")


def _settings(theme: Theme) -> AbstractContextManager[None]:
    """Matplotlib's own settings with ours for one ground, whatever the user's are, for a while."""
    texts = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor")
    lines = ("axes.edgecolor", "xtick.color", "ytick.color", "legend.edgecolor")
    grounds = ("figure.facecolor", "axes.facecolor", "legend.facecolor")
    small = ("xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    ours: Any = {
        **dict.fromkeys([*texts, "ytick.labelcolor"], theme.ink),
        **dict.fromkeys(lines, theme.faint),
        **dict.fromkeys(grounds, theme.ground),
        **dict.fromkeys(small, SMALL_SIZE),
        "axes.grid": False,
        "axes.labelsize": TEXT_SIZE,
        "axes.linewidth": 0.6,
        "axes.prop_cycle": cycler(color=theme.lines),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": TEXT_SIZE,
        "axes.titleweight": "normal",
        "figure.titlesize": TITLE_SIZE,
        "figure.titleweight": "bold",
        "font.family": _fonts(),
        "font.size": TEXT_SIZE,
        "grid.color": theme.faint,
        "grid.linewidth": 0.4,
        "image.interpolation": "nearest",
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "savefig.facecolor": "auto",
        "savefig.transparent": False,
        "svg.fonttype": "path",  # the same letters where the font is missing
        "svg.hashsalt": "convmill",
        "text.parse_math": False,  # names of layers, metrics and classes may hold dollar signs
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
    }
    return style.context(ours, after_reset=True)


@cache
def _fonts() -> list[str]:
    """Families by which letters are looked up, in this order."""
    here = {font.name for font in fontManager.ttflist}
    return [FONT, *(name for name in FURTHER_FONTS if name in here)]


def headline(picture: Picture, title: str, caption: str = "") -> None:
    """A title at the left of the whole picture, bold, and below the picture what else to know.

    Both are broken into lines where they are long, and a line break in them stays.
    """
    width = picture.get_size_inches()[0]
    picture.suptitle(headline_lines(title, width), x=0.01, ha="left")
    if caption:
        # supxlabel is the one text below the axes for which constrained layout makes room.
        picture.supxlabel(wrapped(caption, width), x=0.01, ha="left", fontsize=SMALL_SIZE)


def headline_lines(title: str, width: float) -> str:
    """A title in lines that fit ``width`` inches; its letters are wider than those measured."""
    return wrapped(title, width / BOLD, TITLE_SIZE)


def wrapped(caption: str, width: float = WIDTH, size: float = SMALL_SIZE) -> str:
    """A caption in lines of letters of ``size`` that fit ``width`` inches and their margins; a word
    is broken where it alone is wider."""
    room = (width - 2 * MARGIN) * POINTS_PER_INCH / HINTED
    lines = []
    for paragraph in caption.split("\n"):
        line = ""
        for word in _words(paragraph, room, size):
            longer = f"{line} {word}".lstrip()
            if line and width_in_points(longer, size) > room:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines)


def _words(paragraph: str, room: float, size: float) -> Iterator[str]:
    """What a line is not broken within, none of it wider than ``room`` points."""
    for word in UNBROKEN.findall(paragraph):
        while len(word) > 1 and width_in_points(word, size) > room:
            most = max(1, int(len(word) * room / width_in_points(word, size)))
            while most > 1 and width_in_points(word[:most], size) > room:
                most -= 1
            yield word[:most]
            word = word[most:]
        yield word


def width_in_points(text: str, size: float = SMALL_SIZE) -> float:
    """How wide a text of one line is."""
    font = FontProperties(family=_fonts(), size=size)
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis, its ticks in plain text: Matplotlib's own are formulas."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def bare(axes: Axes) -> None:
    """Takes ticks and spines off, for axes that hold an image."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def frame(axes: Axes, left: float, top: float, width: float, height: float, **look: Any) -> None:
    """A frame at a place of the axes' data, by default thin and faint; ``look`` goes to
    Matplotlib's ``Rectangle``."""
    look = {"lw": THIN, "ec": rcParams["axes.edgecolor"]} | look
    axes.add_patch(Rectangle((left, top), width, height, fill=False, clip_on=False, **look))


def framed(axes: Axes) -> None:
    """A thin frame around axes that are ``bare``: the image may be as white as the ground."""
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=THIN)


def draw_image(axes: Axes, image: NDArray[Any], **options: Any) -> None:
    """One image (height, width) or (height, width, channels), without ticks.

    Grey from its darkest to its brightest value; three channels as colours, brought to 0..1. Other
    channels are shown by their mean, which ``channels_said`` puts into words. ``options`` go to
    Matplotlib's ``imshow``.
    """
    pixels = grey_or_colours(np.asarray(image, dtype=np.float64))
    if pixels.ndim == 3:
        pixels = to_unit(pixels)
    axes.imshow(pixels, **({"cmap": GREY} | options))
    bare(axes)


def grey_or_colours(image: NDArray[Any]) -> NDArray[Any]:
    """(height, width), or (height, width, 3): of other channels the mean."""
    return image if image.ndim == 2 or image.shape[2] == COLOURS else image.mean(axis=2)


def channels_said(shape: tuple[int, ...]) -> str:
    """ "the mean of its 4 channels" where ``grey_or_colours`` takes it of several, else nothing."""
    channels = shape[2] if len(shape) == 3 else 1
    return "" if channels in (1, COLOURS) else f"the mean of its {channels} channels"


def to_unit(values: NDArray[Any]) -> NDArray[Any]:
    """Values brought to 0..1: as they are where they lie there, bytes by 255, others stretched.

    Bytes are whole numbers up to 255, the largest of them above 2.
    """
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return values
    if low >= 0 and 2 < high <= 255 and np.all(values == np.floor(values)):
        return values / 255
    return (values - low) / ((high - low) or 1.0)


def symmetric(values: NDArray[Any]) -> dict[str, Any]:
    """``vmin`` and ``vmax`` for a diverging colour map: 0 in its middle."""
    largest = float(np.max(np.abs(values), initial=0)) or 1.0
    return {"vmin": -largest, "vmax": largest}
