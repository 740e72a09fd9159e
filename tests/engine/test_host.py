"""What is known of the machine."""

from __future__ import annotations

import pytest

from convmill.runtime import host

ASKED_FOR = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx2", "fma"}


def test_the_system_and_llvm_agree_on_what_we_ask_for() -> None:
    if not host._listed_features():
        pytest.skip("this system lists no x86 features")
    assert host._listed_features() & ASKED_FOR == host.llvm_features() & ASKED_FOR


def test_where_nothing_is_listed_llvm_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_listed_features", frozenset)
    assert host.features.__wrapped__() == host.llvm_features()
