"""Workers of a study that is killed end by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

WORKER = """
import os, sys, time
from convmill.study.parent import end_with
end_with(os.getppid())
print("ready", flush=True)
time.sleep(3600)
"""
STUDY = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {WORKER!r}]).wait()
"""


def test_a_worker_ends_when_its_study_is_killed(start):
    study = start([sys.executable, "-c", STUDY], stdout=subprocess.PIPE, text=True)
    assert study.stdout.readline() == "ready\n"
    os.kill(study.pid, signal.SIGKILL)
    assert study.stdout.read() == ""  # the worker held the other end, and has ended


def test_a_process_that_another_has_started_goes_on():
    program = "from convmill.study.parent import end_with; end_with(1 << 22); print('on')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "on\n"
