"""A quick part of Keras' own tests, through compiled code; ``make peer-tests`` runs all of them."""

from __future__ import annotations

import pytest

from tests.peers.groups import EXPLAINED, GROUPS
from tests.peers.run import Case, run
from tests.peers.table import Result, markdown, problems, settled

GOLDENS = tuple(f"optimizers.{name}_test" for name in ("sgd", "rmsprop", "adam", "adamw"))
TRAINER = (
    "test_fit_flow_jit or test_fit_with_data_adapter_py_dataset_infinite "
    "or test_fit_with_val_split_graph_fn or test_evaluate_flow_jit or test_predict_flow_jit "
    "or test_steps_per_epoch_match_one_epoch_jit or test_max_epochs_and_steps "
    "or test_steps_per_execution_steps_count_3_jit or test_on_batch_methods_jit "
    "or test_callback_methods_keys or test_recompile or test_stop_loop"
)


def _run(modules, select, routes, scratch):
    """The cases, after a look at whether all passed: plain Keras passes each of them."""
    cases = run(modules, select, routes, scratch)
    assert {name: case.message for name, case in cases.items() if case.outcome != "passed"} == {}
    return cases


def test_optimizers_and_trainer_run_compiled_and_pass(tmp_path):
    routes = ("models", "example-model", "optimizers")
    select = f"golden or {TRAINER}"
    cases = _run(("trainers.trainer_test", *GOLDENS), select, routes, tmp_path)
    goldens = {name: case for name, case in cases.items() if "golden" in name}
    assert len(goldens) == 4
    # six steps, each by fit and by train_on_batch
    assert all((case.calls, case.images) == (12, 12) for case in goldens.values())
    trained = {name: case for name, case in cases.items() if "TestTrainer" in name}
    assert len(trained) >= 12
    assert all(case.calls > 0 and not case.fallbacks for case in trained.values())


def case(outcome, calls=1):
    return Case(outcome, "what it said", calls, 10 * calls, {"a reason": 2})


@pytest.fixture
def result():
    """One case that differs for a known reason, one that does for none, one that never passes."""
    known = next(iter(EXPLAINED))
    plain = {known: case("passed"), "new": case("passed"), "never": case("failed")}
    routed = {known: case("failed"), "new": case("failed"), "never": case("failed")}
    return Result(GROUPS[0], plain, routed)


def test_an_unexplained_difference_is_a_problem(result):
    assert problems([result]) == ["new: what it said"]
    assert settled([result]) == []


def test_a_case_that_is_missing_or_skipped_is_a_problem(result):
    assert problems([Result(GROUPS[0], {"a": case("passed")}, {"b": case("passed")})])
    assert problems([Result(GROUPS[0], {"a": case("passed")}, {"a": case("skipped")})])


def test_nothing_compiled_is_a_problem():
    idle = {"a": case("passed", calls=0)}
    assert problems([Result(GROUPS[0], idle, idle)]) == ["trainer: nothing ran compiled"]


def test_an_explained_difference_that_is_gone_is_named():
    known = next(iter(EXPLAINED))
    gone = {known: case("passed")}
    assert problems([Result(GROUPS[0], gone, gone)]) == []
    assert settled([Result(GROUPS[0], gone, gone)]) == [known]


def test_the_table_counts_and_explains(result):
    versions = dict.fromkeys(("keras", "jax", "numpy", "llvmlite"), "1.0")
    text = markdown([result], versions)
    assert "| trainer | 3 | 2 | 0 | 0 | 2 | 3 | 3 | 30 | 6 |" in text
    assert "| **all** | 3 | 2 | 0 | 0 | 2 | 3 | 3 | 30 | 6 |" in text
    assert EXPLAINED[next(iter(EXPLAINED))] in text
    assert "**Not explained.**\n  - `new`" in text
    assert "| trainer | 6 | a reason |" in text


def test_tests_that_could_not_be_run_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", "ls")  # in place of Python: a usage error
    with pytest.raises(RuntimeError, match="pytest stopped"):
        run(("trainers.trainer_test",), "", (), tmp_path)
