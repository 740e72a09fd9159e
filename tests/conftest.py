"""For all tests: what they find depends neither on the machine nor on chance.

The environment is set here, not in a fixture, so that fixtures of any scope and the processes that
tests start have it too. Keras' backend is chosen before any test imports Keras. What Keras, NumPy
and Hypothesis draw is the same at every run of the same tests; other examples are drawn with
``pytest --hypothesis-profile=anew``. Only CONVMILL_DATA and CONVMILL_TARGET stay:
where MNIST is, and which instructions the tests are to run on.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # JAX warns of a GPU that it was not installed for
# What Keras on JAX computes here is small and mostly computed once: that it is compiled quickly
# matters more than how quick it is. What draws a kernel is compiled in a tenth of the time.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import convmill  # noqa: F401  isort: skip
import keras
import pytest
from hypothesis import settings

QUICK_CASES = 2  # of one test; ``make test-all`` runs the others too
PATIENCE = 600  # seconds that a process may take: virtual machines stand still for minutes

for _name in (
    *("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"),
    *("CONVMILL_STRICT", "CONVMILL_THREADS", "CONVMILL_OFFLINE"),
):
    os.environ.pop(_name, None)
os.environ.update(TERM="xterm", no_proxy="*", CONVMILL_CACHE="")  # code is compiled anew

# What nohup starts, and a script with &, ignores Ctrl-C, and so would the processes of tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("convmill", derandomize=True, deadline=None, database=None)
settings.register_profile("anew", derandomize=False, deadline=None, database=None)
settings.load_profile("convmill")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden texts anew")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test that has many cases a few stay in the quick suite, evenly chosen, the first and the
    last among them; the others are long. The golden texts are looked at all."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if not {"lower", "cli"} & set(item.path.parts):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for each in cases.values():
        step = (len(each) - 1) / (QUICK_CASES - 1)
        kept = {round(number * step) for number in range(QUICK_CASES)}
        for number, item in enumerate(each):
            if len(each) > QUICK_CASES and number not in kept:
                item.add_marker(pytest.mark.long)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden texts are to be written anew."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(1)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """Starts processes as ``subprocess.Popen`` does; none outlives its test, or PATIENCE."""
    with contextlib.ExitStack() as stack:

        def call(command: list[str], **options: Any) -> subprocess.Popen[Any]:
            process = stack.enter_context(subprocess.Popen(command, **options))
            stack.callback(process.kill)
            too_long = threading.Timer(PATIENCE, process.kill)
            stack.callback(too_long.cancel)
            too_long.start()
            return process

        yield call
