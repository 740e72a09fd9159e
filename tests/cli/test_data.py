"""``convmill data``."""

from __future__ import annotations

FAILED = 1


def test_list_names_every_set(run):
    outcome = run("data", "list")
    assert outcome.code == 0
    for name in ("mnist", "fashion_mnist", "cifar10", "cifar100", "digits"):
        assert f"{name}: " in outcome.out
    assert "1,437 + 360 images, 28x28, 10 classes" in outcome.out


def test_fetch_and_check_of_what_is_always_at_hand(run):
    assert run("data", "fetch", "digits").code == 0
    outcome = run("data", "check", "digits")
    assert outcome.code == 0
    assert "right" in outcome.out


def test_a_set_that_cannot_be_had(run, monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path))
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for arguments in (["data", "fetch", "mnist"], ["train", "--data", "mnist"]):
        outcome = run(*arguments)
        assert outcome.code == FAILED
        assert "train-images-idx3-ubyte" in outcome.err
    outcome = run("data", "check", "mnist")
    assert outcome.code == FAILED
    assert "missing" in outcome.out


def test_a_damaged_file_is_found(run, monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path))
    folder = tmp_path / "mnist"
    folder.mkdir()
    names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]
    for name in names:
        (folder / f"{name}-ubyte").write_bytes(b"<html>not found</html>")
    outcome = run("data", "check", "mnist")
    assert outcome.code == FAILED
    assert "wrong" in outcome.out
