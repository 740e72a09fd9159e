"""Where no more files may be opened: one error that says so, or going on without; nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600
REFUSED = "Too many open files"


def tries(folder: Path, *works: str) -> dict[str, list[dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.robust.open_files", str(folder), *works],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {work: [line for line in lines if line["work"] == work] for work in works}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts files in Linux' /proc")
def test_every_open_may_be_the_one_that_is_refused(tmp_path):
    from tests.robust.open_files import WORKS  # reads limits, which Windows has not

    for work, found in tries(tmp_path, *WORKS).items():
        assert found[-1]["error"] is None, found[-1]
        for one in found:
            assert one["open"] == [], one
            assert one["unfinished"] == [], one
            said = [one["error"]] if one["error"] else one["said"]
            assert all(REFUSED in text for text in said), one
            if one["error"]:
                assert one["old"]["net.keras"], one
                assert one["old"]["net.weights.h5"], one
        assert len(found) > 1, work
