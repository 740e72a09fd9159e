"""Studies on a cluster: a local Ray of two processes, where Ray is installed."""

from __future__ import annotations

import importlib.util

import pytest

from convmill.study import experiment
from convmill.study.errors import StudyError
from tests.study.tables import small


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
# Ray leaves sockets and files to the garbage collector, and warns of what comes.
@pytest.mark.filterwarnings("ignore")
def test_runs_on_ray_are_those_of_this_machine(tmp_path):
    import ray

    table = small(tmp_path)
    here, _ = experiment.carry_out(table, folder=tmp_path / "here", workers=1, verbose=False)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        there, _ = experiment.carry_out(
            table, folder=tmp_path / "there", workers=2, cluster="ray", verbose=False
        )
    finally:
        ray.shutdown()
    assert there.complete
    assert [run.values for run in there.runs] == [run.values for run in here.runs]
    assert [run.curves for run in there.runs] == [run.curves for run in here.runs]


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not installed")
@pytest.mark.filterwarnings("ignore")
def test_runs_on_dask_are_those_of_this_machine(tmp_path):
    from dask.distributed import Client

    table = small(tmp_path)
    here, _ = experiment.carry_out(table, folder=tmp_path / "here", workers=1, verbose=False)
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        there, _ = experiment.carry_out(
            table, folder=tmp_path / "there", workers=2, cluster="dask", verbose=False
        )
    assert there.complete
    assert [run.values for run in there.runs] == [run.values for run in here.runs]


@pytest.mark.parametrize("name", ["ray", "dask"])
def test_a_cluster_that_is_not_installed_is_said(tmp_path, monkeypatch, name):
    import sys

    for package in ("ray", "ray.util.joblib", "dask", "dask.distributed"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StudyError, match=r"pip install 'convmill\[cluster\]'"):
        experiment.carry_out(
            small(tmp_path), folder=tmp_path / "there", cluster=name, verbose=False
        )
