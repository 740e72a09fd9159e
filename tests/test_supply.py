"""What is shipped can be installed; known holes in what is installed are told."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import lock, pythons
from tests.audit import report

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_is_built_and_installed(kind, tmp_path):
    package, place = pythons.built(kind, tmp_path), tmp_path / "installed"
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", place)
    pythons.done(sys.executable, "-m", "pip", "install", *options, package)
    environment = {**os.environ, "PYTHONPATH": str(place)}
    where = "import convmill, convmill.cli; print(convmill.__file__); convmill.cli.main(['--help'])"
    said = pythons.done(sys.executable, "-c", where, cwd=tmp_path, env=environment)
    assert said.startswith(str(place / "convmill"))
    assert "Commands:" in said


@pytest.mark.long
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_trains_in_an_environment_of_its_own(kind, tmp_path):
    if not pythons.has_index(tmp_path):
        pytest.skip("the package index cannot be reached")
    pythons.try_out(sys.executable, pythons.built(kind, tmp_path), tmp_path)


def test_pythons_are_told_apart():
    found = dict(pythons.pythons())
    here = f"3.{sys.version_info.minor}"
    assert here not in found or pythons.done(found[here], "-c", pythons.VERSION) == f"{here}\n"
    with pytest.raises(pythons.Failed, match="no number"):
        pythons.done(sys.executable, "-c", "raise SystemExit('no number')")


def locked():
    lines = lock.LOCK.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_lock_has_all_that_developers_install():
    versions = {canonicalize_name(name): version for name, version in locked().items()}
    optional = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *optional["dev"], *optional["docs"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), text


def test_the_lock_is_made_of_names_and_versions():
    file = {"url": "https://index.example/b.whl", "archive_info": {"hash": "sha256=1"}}
    found = [("b", "2"), ("A", "1.0"), ("pip", "26"), ("convmill", "0.1")]
    report = {
        "install": [
            {"metadata": {"name": name, "version": version}, "download_info": file}
            for name, version in found
        ]
    }
    text = lock.locked(report)
    assert text.endswith("pyproject.toml.\nA==1.0\nb==2\n")
    assert "://" not in text + lock.LOCK.read_text(encoding="utf-8")


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
