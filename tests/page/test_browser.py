"""Pages in a headless Chromium: on a screen and on a phone, light, dark and on paper."""

from __future__ import annotations

import pytest

from convmill.page.html import render
from convmill.page.study import study_page
from convmill.view.style import DARK, LIGHT
from tests.page import studies
from tests.page.browser import GROUND, PHONE, SHOWN, WIDTH, chromium, problems, show
from tests.page.pages import sample

BAD = """<!DOCTYPE html><html lang="en"><title>x</title><link rel="icon" href="data:,">
<h1>x</h1><h3>y</h3><div style="width: 2000px">z</div>
<img src="http://127.0.0.1:9/x.png"><script>console.error("no")</script>"""


# Where captions and names of rows are once each table is scrolled to its end.
SCROLLED = """
const boxes = [...document.querySelectorAll(".scrolls")].filter(b => b.querySelector("table"));
boxes.forEach(b => { b.scrollLeft = b.scrollWidth; });
return boxes.flatMap(b => [...b.querySelectorAll("caption, tbody th")])
    .map(e => e.getBoundingClientRect().toJSON())"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render(sample()), encoding="utf-8")
    return path


def rgb(colour: str) -> str:
    return f"rgb({', '.join(map(str, bytes.fromhex(colour[1:])))})"


@pytest.mark.parametrize(("dark", "theme"), [(False, LIGHT), (True, DARK)])
@pytest.mark.parametrize(("width", "first"), [(WIDTH, "wide"), (PHONE, "narrow")])
def test_a_page_on_screens(browser, page, width, first, dark, theme):
    show(browser, page, width=width, dark=dark)
    assert problems(browser, page) == []
    assert browser.execute_script(GROUND) == rgb(theme.ground)
    ground = "dark" if dark else "light"
    assert browser.execute_script(SHOWN) == [f"{first} {ground}", f"wide {ground}"]


def test_paper_is_light_and_wide(browser, page):
    show(browser, page, width=PHONE, dark=True, media="print")
    assert browser.execute_script(SHOWN) == ["wide light", "wide light"]
    assert browser.execute_script(GROUND) == rgb(LIGHT.ground)


def test_the_page_of_a_study_on_a_phone(browser, tmp_path):
    path = tmp_path / "study.html"
    path.write_text(study_page(studies.translation()), encoding="utf-8")
    show(browser, path, width=PHONE)
    assert problems(browser, path) == []
    assert set(browser.execute_script(SHOWN)) == {"narrow light"}


def test_captions_and_names_of_rows_stay_in_sight(browser, page):
    show(browser, page, width=PHONE)
    for places in browser.execute_script(SCROLLED):
        assert 0 <= places["left"] < places["right"] <= PHONE


def test_what_is_wrong_is_found(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(BAD)
    show(browser, path, width=PHONE)
    found = " ".join(problems(browser, path))
    assert "console: " in found
    assert "asks for http://127.0.0.1:9/x.png" in found
    for each in ("sideways", "out of order", "without alternative text", "cannot be shown"):
        assert each in found
