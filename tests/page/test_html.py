"""A page as HTML: whole, loading nothing, with what a screen reader needs."""

from __future__ import annotations

import pytest

from convmill.page.document import Page
from convmill.page.html import render
from tests.page.pages import WIDE, Elements, content, sample


@pytest.fixture(scope="module")
def html() -> str:
    return render(sample())


@pytest.fixture(scope="module")
def page(html) -> Elements:
    return Elements(html)


def test_language_title_and_headings_in_order(page):
    assert page.all("html") == [{"lang": "en"}]
    assert page.texts("title") == page.texts("h1") == ["A <title>"]
    headings = [tag for tag, _ in page.seen if tag[0] == "h" and tag[1:].isdigit()]
    assert headings == ["h1", "h2", "h2", "h2", "h2"]
    assert page.texts("h2") == ["First <section>", "Second", "How it was run", "Raw numbers"]
    assert {"Does it?", "It's 99 % & more."} <= set(page.texts("p"))


def test_it_loads_nothing_and_needs_no_script(page):
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "iframe", "object", "base", "form", "video", "audio"}
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    addresses = [each.get("src") or each.get("href") for _, each in page.seen]
    assert all(address.startswith("data:") for address in addresses if address)
    assert not any("on" in name[:2] for _, each in page.seen for name in each)
    style = "".join(page.texts("style"))
    assert "url(" not in style
    assert "@import" not in style


def test_each_picture_has_its_alternative_for_both_grounds(page):
    images = page.all("img")
    kinds = [(each["class"], each["alt"]) for each in images]
    grounds = ("wide light", "wide dark", "narrow light", "narrow dark")
    assert kinds == [(ground, "curves & more") for ground in grounds] + [
        (ground, "bins") for ground in grounds[:2]
    ]
    pictures = [content(each["src"]) for each in images]
    assert len(set(pictures)) == len(pictures)
    assert all("<svg" in picture for picture in pictures)
    sizes = [int(each["width"]) for each in images]
    assert sizes == [700, 700, 360, 360, 700, 700]
    assert page.texts("figcaption") == ["It's <b>"]


def test_headers_of_tables_say_what_they_head(page):
    headers = [each["scope"] for each in page.all("th")]
    assert headers == ["col"] * 13 + ["row"] * 2
    assert page.texts("caption") == ["A <wide> table"]
    assert page.texts("th") == [column.title for column in WIDE.columns] + ["a<b&'\"", "second"]
    boxes = [each for each in page.all("div") if each.get("tabindex") == "0"]
    assert [each["aria-label"] for each in boxes] == ["Picture: bins", "A <wide> table"]


def test_what_is_of_several_lines_is_code():
    code = 'a = "<b>"\n[c]'
    page = Elements(render(Page("t", "q", "a", (), (("Study", code), ("Seed", "1")))))
    assert page.texts("code") == [code]
    assert page.texts("dd") == ["1"]


def test_files_to_download_are_in_the_page(page):
    assert page.downloads() == {"a.csv": "epoch,loss\n1,0.5\n", "ü'.json": '{"é": 1}'}


def test_the_same_page_gives_the_same_text(html):
    assert render(sample()) == html


def test_halves_of_letters_are_written_as_something():
    html = render(Page("a\udcffb", "q", "a", ()))
    assert "a?b" in html
    assert html.encode()
