"""What a script's text tells of its functions, before it is run."""

from __future__ import annotations

import pytest

from convmill.failure import Failure
from convmill.user_functions import check_function

FAILED = 1
SCRIPT = """from elsewhere import imported
import package.module as module

assigned = len
(walrus := len)
[inside := len for _ in "a"]

if assigned:
    def conditional(input_shape):
        model = build(input_shape)
        return model
else:
    class Kind:
        def method(self):
            self.attribute = lambda: 1

for looped in (len,):
    pass

def sets():
    global declared
    declared = len
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *("imported", "module", "assigned", "walrus", "inside"),
        *("conditional", "Kind", "looped", "sets", "declared"),
    ],
)
def test_what_a_script_may_have(script, name):
    check_function(f"{script}:{name}")


@pytest.mark.parametrize("name", ["package", "build", "model", "method", "attribute", "nosuch"])
def test_what_a_script_cannot_have(script, name):
    with pytest.raises(Failure) as raised:
        check_function(f"{script}:{name}")
    assert f"net.py has no function '{name}'." in raised.value.message
    assert raised.value.message.endswith(" It defines conditional, sets.")


@pytest.mark.parametrize(
    "line",
    [
        *("from elsewhere import *", "globals()[name] = len", "exec(text)", "def build(:"),
        *("def __getattr__(name): return len", "setattr(sys.modules[__name__], name, len)"),
    ],
)
def test_what_only_running_a_script_tells(script, line):
    script.write_text(f"{SCRIPT}{line}\n")
    check_function(f"{script}:nosuch")


def test_many_functions_are_not_listed(script):
    script.write_text("".join(f"def net_{number}(): pass\n" for number in range(7)))
    with pytest.raises(Failure) as raised:
        check_function(f"{script}:net_10")
    assert raised.value.message.endswith("net.py has no function 'net_10'. Did you mean 'net_1'?")


def test_a_script_without_functions(script):
    script.write_text("")
    with pytest.raises(Failure, match=r"no function 'build'\. It defines none\.$"):
        check_function(f"{script}:build")


@pytest.mark.parametrize("command", [["train", "--model"], ["tune"]])
def test_it_is_said_before_data_are_loaded(run, script, tmp_path, command):
    outcome = run(*command, f"{script}:nosuch", "--data", tmp_path / "missing.npz")
    assert outcome.code == FAILED
    assert "net.py has no function 'nosuch'. It defines conditional, sets." in outcome.err
    assert outcome.out == ""
