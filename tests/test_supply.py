"""What is shipped can be installed; known holes in what is installed are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit import report

ROOT = Path(__file__).parent.parent
BUILD = "from hatchling.build import build_{kind}; print(build_{kind}({folder!r}))"


def done(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.long
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_is_built_and_installed(kind, tmp_path):
    code = BUILD.format(kind=kind, folder=str(tmp_path))
    built = tmp_path / done(sys.executable, "-c", code, cwd=ROOT).split()[-1]
    place = tmp_path / "installed"
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", str(place))
    done(sys.executable, "-m", "pip", "install", *options, str(built))
    environment = {**os.environ, "PYTHONPATH": str(place)}
    where = "import convmill, convmill.cli; print(convmill.__file__); convmill.cli.main(['--help'])"
    said = done(sys.executable, "-c", where, cwd=tmp_path, env=environment)
    assert said.startswith(str(place / "convmill"))
    assert "Commands:" in said


FOUND = {
    "dependencies": [
        {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
        {"name": "b", "version": "1", "vulns": []},
        {"name": "c", "skip_reason": "not on the index"},
    ]
}


def test_a_known_hole_fails(capsys):
    assert report(json.dumps(FOUND), "") == 1
    said = capsys.readouterr().out
    assert "a 1: CVE-1, mended in 2" in said
    assert "1 in 2 packages; 1 could not be asked for" in said


@pytest.mark.parametrize("answer", ["", "no JSON", "[]", "{}"])
def test_where_nobody_can_be_asked_it_passes_with_a_word(capsys, answer):
    assert report(answer, "ERROR: no connection\n") == 0
    assert "nothing was audited. pip-audit says: ERROR: no connection" in capsys.readouterr().out
