"""What a benchmark leaves: a whole file that says how to measure it again; nothing is measured."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks import checkpoints, compile_time, first_epoch, latency, recipes, record, threads
from benchmarks.__main__ import main
from benchmarks.names import Names
from benchmarks.options import json_option, target_option
from benchmarks.peers import OWN, PEERS, before, chosen, held_to
from benchmarks.results import Chunk, NetResult, PeerResult, Run, Trial, recorded, run_of
from convmill import storage
from convmill.lower.machine import TARGETS
from convmill.runtime import host


@click.command
@click.option("--nets", type=Names(["a", "b"]), default="a")
@click.option("--seconds", type=float, default=2.0)
@click.option("--repeats", type=int, default=3)
@click.option("--slow", is_flag=True)
@click.option("--python", type=click.Path(path_type=Path))
@click.option("--before", type=click.Path(file_okay=False, path_type=Path))
@target_option
@json_option
def measures(json_file: Path, **options: object) -> None:
    record.write(replace(record.begin("part"), samples={"a": [1.5]}), json_file)


def run_with(*arguments: str | Path, code: int = 0) -> str:
    told = [str(argument) for argument in arguments]
    outcome = CliRunner().invoke(measures, told, prog_name="python -m it")
    assert outcome.exit_code == code, outcome.output
    return outcome.output


def test_a_record_reads_back_and_tells_how_to_make_it_again(tmp_path, monkeypatch):
    monkeypatch.delenv("CONVMILL_TARGET", raising=False)
    file = tmp_path / "record.json"
    paths = ("--python", tmp_path / "python", "--before", tmp_path)
    run_with("--nets", "b,a", "--seconds", "0.5", "--slow", *paths, "--json", file)
    found = record.read(file)
    assert str(tmp_path) not in file.read_text()
    assert found.command == (
        "python -m it --nets b,a --seconds 0.5 --slow --python FILE --before FOLDER"
    )
    assert (found.part, found.samples, found.target) == (
        *("part", {"a": [1.5]}, host.machine().target),
    )
    assert found.options == {
        "nets": ["b", "a"],
        "seconds": 0.5,
        "repeats": 3,
        "slow": True,
        "python": "FILE",
        "before": "FOLDER",
        "target": None,
    }
    assert found.machine["cores"] >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_what_the_environment_says_stands_in_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVMILL_TARGET", "SSE4" if "sse4" in host.targets() else "neon")
    run_with("--nets", "all", "--json", tmp_path / "a.json")
    found = record.read(tmp_path / "a.json")
    assert found.target in ("sse4", "neon")
    assert found.command == f"python -m it --nets all --target {found.target}"


def test_a_record_is_whole_or_not_there(tmp_path, monkeypatch):
    file = tmp_path / "record.json"
    run_with("--json", file)
    kept = file.read_bytes()

    def full(path: Path) -> None:
        raise OSError("no space is left")

    monkeypatch.setattr(storage, "flush_to_disk", full)
    with pytest.raises(OSError, match=r"no space is left\. The file that was there"):
        record.write(record.read(file), file)
    assert file.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"part": "nets"}', "\xff"])
def test_what_is_no_record_is_named(tmp_path, text):
    file = tmp_path / "some.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(record.RecordError, match=r"some\.json is no"):
        record.read(file)


@pytest.mark.parametrize(
    "command",
    [*(part.main for part in (checkpoints, compile_time, first_epoch)), main]
    + [part.main for part in (latency, recipes, threads)],
)
def test_a_file_that_cannot_be_written_is_refused_before_measuring(command, tmp_path):
    outcome = CliRunner().invoke(command, ["--json", str(tmp_path / "no" / "record.json")])
    assert outcome.exit_code == 2
    assert "there is no such folder" in outcome.output


def test_a_target_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setenv("CONVMILL_TARGET", "mmx")
    outcome = CliRunner().invoke(compile_time.main, [])
    assert outcome.exit_code == 2
    assert "Received: CONVMILL_TARGET='mmx'" in outcome.output


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_code_is_a_commit_or_differs_from_one(tmp_path):
    assert record.code_of(tmp_path) is None

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    assert record.code_of(tmp_path) is None
    (tmp_path / "convmill").mkdir()
    (tmp_path / "convmill" / "a.py").touch()
    git("add", ".")
    git("commit", "-qm", "a")
    commit = git("rev-parse", "--short", "HEAD")
    (tmp_path / "notes.md").touch()
    assert record.code_of(tmp_path) == commit
    (tmp_path / "convmill" / "b.py").touch()
    assert record.code_of(tmp_path) == f"{commit}+"


def test_a_run_is_recorded_with_its_samples():
    chunk = Chunk(10, 2.0, 1.0, None, 0.5)
    peer = PeerResult("jax", "JAX", versions={"jax": "1"}, trials=[Trial(64, 0.1, 9.0)])
    peer = replace(peer, training=[chunk], evaluation=[chunk, chunk], base_memory=7)
    run = Run({"cpu": "A"}, {"threads": 2}, ["none"], [1.0], {}, [NetResult("gap", [peer], [3.0])])
    begun = record.Record("nets", "it", "abc", "avx2", {"cpu": "A"}, {"threads": 2}, {}, {})
    found = recorded(run, begun)
    assert found.versions == {"jax": {"jax": "1"}}
    assert run_of(replace(found, samples=json.loads(json.dumps(found.samples)))) == run


@pytest.mark.parametrize(("widest", "kept"), [("avx512", True), ("avx2", False), ("neon", False)])
def test_avx2_is_measured_beside_what_is_wider(widest, kept, monkeypatch):
    monkeypatch.delenv("CONVMILL_TARGET", raising=False)
    monkeypatch.setattr(host, "processor", lambda: TARGETS[widest])
    there, left_out = chosen(["convmill", "convmill-avx2", "jax"], None)
    assert ("convmill-avx2" in {peer.name for peer in there}) == kept
    assert [peer.name for peer in left_out] == ["convmill-avx2"] * (not kept)
    assert [peer.name for peer in chosen(["convmill-avx2"], widest)[0]] == ["convmill-avx2"] * kept
    monkeypatch.setenv("CONVMILL_TARGET", widest)
    assert bool(chosen(["convmill-avx2"], None)[0]) == kept


def test_who_is_convmill_itself_is_said_once():
    assert set(OWN) == {name for name, peer in PEERS.items() if peer.python == "own"} | {"before"}
    assert held_to(PEERS["convmill-avx2"], "avx512") == PEERS["convmill-avx2"]
    assert before(Path()).name in OWN
