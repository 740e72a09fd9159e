"""The benchmark's words and wiring; nothing is measured."""

from __future__ import annotations

import dataclasses

import pytest
from click.testing import CliRunner

from benchmarks import latency, report
from benchmarks.__main__ import main
from benchmarks.peers import PEERS, before, held_to, worker_environment
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


def test_the_report_names_the_target():
    peers = [PeerResult("convmill", "convmill", target="avx2"), PeerResult("jax", "JAX")]
    run = Run(MACHINE, {**OPTIONS, "dtype": "float32"}, [], {}, [NetResult("notebook", peers, [])])
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
