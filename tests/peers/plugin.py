"""A pytest plugin: puts convmill under Keras' own tests, and counts what it ran of each.

    pytest -p tests.peers.plugin --route trainer --pyargs keras.src.trainers.trainer_test

The counts go into the JUnit report, as the property ``convmill`` of each case.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.peers.counts import count
from tests.peers.routes import ROUTES

COUNTS = count()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that names the routes."""
    parser.addoption("--route", action="append", default=[], choices=sorted(ROUTES))


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Opens the routes once Keras' test modules are imported."""
    modules = {item.module.__name__: item.module for item in items}
    for name in config.getoption("--route"):
        ROUTES[name](modules)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Counts one case."""
    COUNTS.calls = COUNTS.images = 0
    COUNTS.fallbacks.clear()
    try:
        return (yield)
    finally:
        counted = {
            "calls": COUNTS.calls,
            "images": COUNTS.images,
            "fallbacks": dict(COUNTS.fallbacks),
        }
        item.user_properties.append(("convmill", json.dumps(counted)))
