"""A headless Chromium, and what it finds wrong with a page."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, PHONE, HEIGHT = 900, 390, 800
IN_ORDER = """
const levels = [...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].map(h => +h.tagName[1]);
return levels[0] === 1 && levels.filter(l => l === 1).length === 1
    && levels.every((l, i) => i === 0 || l <= levels[i - 1] + 1)"""
WITHOUT_ALT = "return [...document.images].filter(i => !i.alt).length"
NOT_DECODED = "return [...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
SHOWN = """return [...document.querySelectorAll("figure")].map(
    f => [...f.querySelectorAll("img")].filter(i => i.offsetWidth).map(i => i.className).join())"""
GROUND = "return getComputedStyle(document.body).backgroundColor"
SIDEWAYS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, ended in the end; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("there is no Chromium with its chromedriver (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.add_argument("--headless=new")
    options.add_argument("--disable-dev-shm-usage")  # containers have little of it
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def show(browser: Any, path: Path, *, width: int = WIDTH, dark: bool = False, media: str = ""):
    """Opens a page on a screen, or as ``media``."""
    size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
    for log in ("browser", "performance"):
        browser.get_log(log)  # what came before
    browser.get(path.as_uri())


def problems(browser: Any, path: Path) -> list[str]:
    """What is wrong with the page that was shown last."""
    found = [f"console: {each['message']}" for each in browser.get_log("browser")]
    found += [f"asks for {address}" for address in _asked(browser, path)]
    if browser.execute_script(SIDEWAYS) > 0:
        found.append("scrolls sideways")
    if not browser.execute_script(IN_ORDER):
        found.append("headings out of order")
    if browser.execute_script(WITHOUT_ALT):
        found.append("an image without alternative text")
    if browser.execute_script(NOT_DECODED):
        found.append("an image that cannot be shown")
    return found


def _asked(browser: Any, path: Path) -> list[str]:
    messages = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert path.as_uri() in asked
    return [url for url in asked if url != path.as_uri() and not url.startswith("data:")]
