"""Nothing that we print ever raises, whatever standard output can hold."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmill.printing import plain_streams, printable, say

ENCODINGS = ("ascii", "latin-1", "cp1252", "cp437", "shift_jis", "utf-8")


def stream(encoding, errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)


@given(text=st.text(st.characters()), encoding=st.sampled_from(ENCODINGS))
def test_any_text_on_any_stream(text, encoding):
    shown = printable(text, stream(encoding))
    shown.encode(encoding)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        assert shown != text
    else:
        assert shown == text.encode(encoding).decode(encoding)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("26×26", "26x26"),
        ("and so on…", "and so on..."),
        ("━━──", "----"),
        ("a — b – c ‑ −3", "a - b - c - -3"),
        ("“it’s”", '"it\'s"'),
        ("½, 5\u202f%, 5\xa0%", "1/2, 5 %, 5 %"),
        ("a → b ≤ c", "a -> b <= c"),
        ("né, ne\u0301, Straße", "ne, ne, Strasse"),
        ("日本 😀", "?? ?"),
    ],
)
def test_plain_letters(text, shown):
    assert printable(text, stream("ascii")) == shown
    assert printable(text, stream("utf-8")) == text


def test_what_a_stream_can_hold_stays():
    assert printable("né × … ━ 日", stream("cp1252")) == "né × … - ?"
    assert printable("caf\udce9.png", stream("utf-8")) == "caf?.png"  # a name that is no UTF-8


def test_streams_that_encode_nothing():
    out = io.StringIO()
    say("━ né", out)
    assert out.getvalue() == "━ né\n"
    say("nowhere", None)


def test_streams_are_plain_for_a_while(monkeypatch):
    out = stream("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with plain_streams():
        print("26×26", flush=True)
    assert out.buffer.getvalue() == b"26x26\n"
    with pytest.raises(UnicodeEncodeError):
        print("×", flush=True)


def test_streams_whose_errors_are_chosen_stay(monkeypatch):
    out = stream("ascii", "backslashreplace")
    monkeypatch.setattr(sys, "stdout", out)
    with plain_streams():
        print("×", flush=True)
    assert out.buffer.getvalue() == b"\\xd7\n"


EVERYTHING = """
import os
import sys
import convmill, keras
import numpy as np
from keras import layers
from convmill.cli import main

def everything():
    stack = [layers.Conv2D(4, 3, name="日×"), layers.Flatten(), layers.Dense(3)]
    stack = [keras.Input((8, 8, 1)), *stack]
    model = convmill.accelerate(keras.Sequential(stack, name="né…日"))
    found = convmill.inspect(model)
    for each in (convmill.explain(model), found, convmill.compare(found, found)):
        print(each)
    norm = layers.BatchNormalization(renorm=True, name="日")
    other = keras.Sequential([keras.Input((8, 8, 1)), norm], name="×")
    print(convmill.explain(other))
    convmill.accelerate(other).predict(np.zeros((2, 8, 8, 1)), verbose=0)
    model.compile("sgd", "mse", metrics=[keras.metrics.MeanSquaredError(name="Fehler日")])
    for verbose in (1, 2):
        model.fit(np.zeros((4, 8, 8, 1)), np.zeros((4, 3)), verbose=verbose)
    model.save("日.keras")
    for face in ([], ["--markdown"], ["--json"]):
        assert main(["inspect", "日.keras", *face]) == 0
    assert main(["inspect", "né日…"]) == 2
    assert main(["show", "filters", "日.keras", "--out", "né日.png"]) == 0

for encoding in sys.argv[1:]:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding=encoding, errors="strict")
    everything()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.write(stream.fileno(), b"\\0")
"""


def test_all_that_we_print(tmp_path):
    """On streams that hold less and less; a process of its own has such as no test replaced."""
    names = {"utf-8": "né…日", "cp1252": "né…?", "ascii": "ne...?"}
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING, *names],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    parts = [stream.split(b"\0")[:-1] for stream in (done.stdout, done.stderr)]
    for (encoding, name), out, errors in zip(names.items(), *parts, strict=True):
        assert out.decode(encoding).count(name) > 3
        assert "runs on Keras' own path" in errors.decode(encoding)
