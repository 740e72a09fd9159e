"""The four faces of a report: terminal, Markdown, HTML and plain data."""

from __future__ import annotations

import json
import math
from functools import cache
from html.parser import HTMLParser
from io import StringIO

import keras
import pytest
from keras.layers import Conv2D, Dense, Flatten
from rich.console import Console

import convmill
from convmill.inspection import numbers
from convmill.inspection.compare import compare
from convmill.inspection.document import Column, Table
from convmill.inspection.terminal import fitting
from tests.inspection.nets import notebook, unpooled

WIDTHS = (118, 80, 40)


@cache
def report(kind):
    """An Inspection or a Comparison, made once."""
    one = convmill.inspect(notebook())
    return one if kind == "one" else compare(one, convmill.inspect(unpooled()))


def shown(found, width, **console):
    out = StringIO()
    Console(file=out, width=width, **console).print(found)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["one", "two"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_line_fits_the_terminal(kind, width):
    lines = shown(report(kind), width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0] == lines[0].strip()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_cell_is_broken(width):
    text = shown(report("one"), width)
    for row in report("one").rows:
        assert row.name in text
        assert numbers.times(row.step.shape) in text
    assert "18x18" in text


def test_narrow_terminals_show_fewer_columns():
    headings = [shown(report("one"), width) for width in WIDTHS]
    assert ["time" in text.split("─")[0] for text in headings] == [True, True, False]
    assert ["share" in text.split("─")[0] for text in headings] == [True, False, False]


def test_colours_only_where_there_are_some():
    assert "\x1b[" in shown(report("one"), 80, force_terminal=True)
    assert "\x1b[" not in shown(report("one"), 80)
    assert "\x1b[" not in str(report("one"))
    assert repr(report("one")) == str(report("one"))


def test_numbers_stay_with_their_per_cent():
    for width in range(40, 119):
        for line in shown(report("two"), width).splitlines():
            assert not line.strip().startswith("% ")


def test_columns_of_the_highest_rank_go_first():
    table = Table(tuple(Column(c * 8, rank) for c, rank in (("a", 0), ("b", 9), ("c", 2))), ())
    titles = {width: [c.title[0] for c in fitting(table, width).columns] for width in (28, 27, 5)}
    assert titles == {28: ["a", "b", "c"], 27: ["a", "c"], 5: ["a"]}


class Elements(HTMLParser):
    """Counts elements and checks that they are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("kind", ["one", "two"])
def test_html_is_whole_and_loads_nothing(kind):
    page = Elements()
    page.feed(report(kind)._repr_html_())
    assert page.open == []
    tags = [tag for tag, _ in page.seen]
    assert tags.count("table") == len(report(kind).document().tables)
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert "url(" not in "".join(page.text)
    findings = [attrs for _, attrs in page.seen if attrs.get("class") == "finding"]
    assert len(findings) == (1 if kind == "one" else 3)


def odd_names():
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            Conv2D(2, 3, name="a|b*c_d"),
            Flatten(name="<b>&"),
            Dense(1, activation="softmax", name="`end`"),
        ],
        name="<script>",
    )


def test_names_are_no_markup():
    found = convmill.inspect(odd_names())
    html, markdown = found._repr_html_(), found.markdown()
    assert "<script>" not in html
    assert "&lt;b&gt;&amp;" in html
    assert r"a\|b\*c\_d" in markdown
    assert r"\<b\>&" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    bars = {line.replace(r"\|", "").count("|") for line in rows}
    assert len(bars) == 1


@pytest.mark.parametrize("kind", ["one", "two"])
def test_markdown_has_all_columns_and_findings(kind):
    text = report(kind).markdown()
    document = report(kind).document()
    for table in document.tables:
        for column in table.columns:
            assert column.title.replace("\n", " ") in text
    for section in document.sections:
        for finding in section.findings:
            assert finding.what.split(":")[0].replace("_", r"\_") in text
    assert text.endswith("\n")


@pytest.mark.parametrize("kind", ["one", "two"])
def test_plain_data_are_json(kind):
    plain = report(kind).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_plain_data_of_one():
    plain = report("one").to_dict()
    assert plain["totals"]["parameters"] == 93_322
    last = plain["layers"][5]
    (field,) = last["fields"].values()
    assert field["size_pixels"] == [18, 18]
    assert field["jump_pixels"] == [4, 4]
    assert field["start_pixel"] == [0, 0]
    assert math.isclose(field["share_of_input"], 18 * 18 / 784)
    assert last["output_shape"] == [3, 3, 64]
    assert plain["layers"][4]["unread_places"] == [1, 1]
    assert plain["findings"][0]["rule"] == "dropped border"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999_999, "999,999"), (15_860_224, "15.86 M"), (2.5e9, "2.5 G"), (3e12, "3 T")],
)
def test_counts(value, text):
    assert numbers.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(40, "40 B"), (999.9e3, "1000 kB"), (86_528, "86.5 kB"), (123_904, "124 kB"), (2e9, "2 GB")],
)
def test_bytes(value, text):
    assert numbers.in_bytes(value) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"),
     (list("abcd"), "a, b and 2 other layers")],
)  # fmt: skip
def test_listed(names, text):
    assert numbers.listed(names) == text


def test_durations_and_shares():
    assert [numbers.seconds(value) for value in (2.0, 0.0123, 1e-5, 9e-6)] == [
        "2 s",
        "12.3 ms",
        "0.01 ms",
        "<0.01 ms",
    ]
    assert [numbers.percent(share) for share in (0.99649, 0.75, 0.00128)] == [
        "99.6 %",
        "75 %",
        "0.128 %",
    ]
