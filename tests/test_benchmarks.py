"""The benchmark's words and wiring; nothing is measured."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import assembly, latency, report
from benchmarks.__main__ import main
from benchmarks.peers import PEERS, before, held_to, run_by, worker_environment
from benchmarks.results import NetResult, PeerResult, Run
from convmill.runtime import host

OPTIONS = {"threads": 2, "repeats": 3, "train_seconds": 3.0, "evaluate_seconds": 1.0}
MACHINE = {"cpu": "A CPU", "cores": 2, "memory_gib": 4, "system": "S", "date": "now", "python": "3"}


def test_a_target_holds_convmill_and_nobody_else(tmp_path, monkeypatch):
    monkeypatch.delenv("CONVMILL_TARGET", raising=False)
    for peer in (*PEERS.values(), before(tmp_path)):
        held = held_to(peer, "avx2")
        ours = peer.python == "own"
        assert held.target == ("avx2" if ours else None)
        assert worker_environment(held, 1).get("CONVMILL_TARGET") == ("avx2" if ours else None)
        if not ours:
            assert held == peer
        assert held_to(peer, None) == peer


def test_peers_of_another_python_are_those_that_it_has(tmp_path):
    kept, missing = run_by(list(PEERS.values()), Path(sys.executable))
    assert kept[0] == PEERS["convmill"]
    assert {"keras-jax", "jax"} <= {peer.name for peer in kept}
    for peer in kept[1:]:
        assert peer.executable() == Path(sys.executable)
    wanted = {"tensorflow": "keras-tensorflow", "torch": "torch"}
    for module, name in wanted.items():
        there = importlib.util.find_spec(module) is not None
        assert (name in {peer.name for peer in missing}) != there
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho none here >&2; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(OSError, match="none here"):
        run_by(list(PEERS.values()), broken)
    outcome = CliRunner().invoke(main, ["--peers-python", str(broken)])
    assert outcome.exit_code == 2
    assert "none here" in outcome.output


def test_the_report_names_the_target_and_who_is_missing():
    peers = [PeerResult("convmill", "convmill", target="avx2"), PeerResult("jax", "JAX")]
    options = {**OPTIONS, "dtype": "float32"}
    left_out = ["PyTorch (not installed)", "JAX (not installed)"]
    run = Run(MACHINE, options, left_out, [], {}, [NetResult("notebook", peers, [])])
    assert "left out: PyTorch (not installed); JAX (not installed)" in report.header(run)
    assert "convmill compiles for avx2" in report.header(run)
    assert dataclasses.asdict(run)["nets"][0]["peers"][0]["target"] == "avx2"


@pytest.mark.parametrize("command", [main, latency.main])
def test_a_target_that_this_processor_has_not(command, monkeypatch):
    outcome = CliRunner().invoke(command, ["--target", "mmx"])
    assert outcome.exit_code == 2
    assert "'mmx' is not one of" in outcome.output
    assert all(repr(name) in outcome.output for name in host.targets())
    monkeypatch.setenv("CONVMILL_TARGET", "mmx")
    assert CliRunner().invoke(command, []).exit_code == 2


def test_the_loops_of_a_net_are_listed_for_any_target():
    outcome = CliRunner().invoke(assembly.main, ["--net", "lenet-5", "--inference"])
    assert outcome.exit_code == 0
    _, *rows = (line.split() for line in outcome.output.splitlines())
    assert {"stage0.direct_forward", "stage4.dense_forward"} <= {row[0] for row in rows}
    for _, multiply_adds, spills, instructions in rows:
        assert 0 <= int(spills) < int(instructions) > int(multiply_adds) > 0
    outcome = CliRunner().invoke(assembly.main, ["--triple", "x86_64-apple-darwin"])
    assert outcome.exit_code == 2
    assert "arm64-apple-darwin" in outcome.output
