"""docs/benchmarks.md from records: made-up ones, with figures that can be computed by hand."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import everything, record
from benchmarks.page import pictures, targets
from benchmarks.page.gathered import Gathered, gather
from benchmarks.record import Record, RecordError

DOCS = Path(__file__).parent.parent / "docs"
MACHINE = {"cpu": "A CPU", "cores": 2, "system": "S", "python": "3", "date": "today"}
LABELS = {"convmill-avx2": "convmill, AVX2", "before": "convmill, before", "torch": "PyTorch"}


def chunk(rate: float, others: float = 0.0) -> dict[str, Any]:
    return {"images": 1000, "seconds": 1000 / rate, "cores": 2.0, "others": others, "value": 0.1}


def peer(name: str, training: list[float], evaluation: list[float]) -> dict[str, Any]:
    """Rates; a process that had held 300 MB, 340 with the model, 350 trained and 400 at the end."""
    return {
        "name": name,
        "label": LABELS.get(name, name),
        "data": "random images",
        "trials": [],
        "training": [chunk(rate) for rate in training],
        "evaluation": [chunk(rate) for rate in evaluation],
        "base_memory": 300e6,
        "built_memory": 340e6,
        "trained_memory": 350e6,
        "peak_memory": 400e6 if name == "convmill" else 500e6,
    }


def net(name: str, *peers: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "peers": list(peers), "peak_gigaflops": [200.0, 400.0]}


def nets(*measured: dict[str, Any], left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "left_out": list(left_out),
        "single_thread_gigaflops": [1.0],
        "imports": {"import keras": [2.0, 3.0], "import convmill": []} if left_out else {},
        "nets": list(measured),
    }


OURS = peer("convmill", [4000, 8000, 6000], [9000])
OTHERS = (
    peer("convmill-avx2", [5000], [8000]),
    peer("before", [24000], [18000]),
    peer("torch", [2000], [3000]),
    {**peer("jax", [], []), "note": "it fell over"},
)
LATENCY = {
    "convmill": {"predict_on_batch": [10, 12], "predict": [20], "train_on_batch": [30]},
    "convmill-avx2": {"predict_on_batch": [1], "predict": [1], "train_on_batch": [1]},
    "torch": {"predict_on_batch": [110], "predict": [], "train_on_batch": [60]},
}
THREADS = {
    "gap": {
        "1": {"alone": [chunk(100)], "beside": [chunk(99)]},
        "2": {"alone": [chunk(190)], "beside": [chunk(95)]},
    }
}
RECIPES = {
    name: [
        {"test": {"accuracy": 0.99}, "training_seconds": 0.5, "compile_seconds": 0.25},
        {"test": {"accuracy": accuracy}, "training_seconds": 1.0, "compile_seconds": 0.75},
    ]
    for name, accuracy in (("fast", 0.992), ("notebook-fast", 0.9976))
}
COMPILING = {"notebook": {"compiled": [[0.1, 0.2, 0.3]], "loaded": [[0.0, 0.0, 0.04]]}}
CHECKPOINTS = {"gap": {"without": [1000], "with": [940], "delay_seconds": [0.002, 0.004]}}
KERAS = peer("keras-tensorflow", [3000], [3000])
PARTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "nets": ("nets", nets(net("gap", OURS, *OTHERS), left_out=("JAX (not there)",)), {}),
    "notebook": ("nets", nets(net("notebook", OURS, KERAS)), {}),
    "latency": ("latency", LATENCY, {"net": "notebook"}),
    "threads": ("threads", THREADS, {"busy": 1}),
    "first_epoch": (
        "first_epoch",
        {"convmill": [6.0], "torch": [5.0], "jax": []},
        {"net": "notebook", "steps": 50},
    ),
    "compile_time": ("compile_time", COMPILING, {}),
    "recipes": ("recipes", RECIPES, {}),
    "checkpoints": ("checkpoints", CHECKPOINTS, {"every": 2.0}),
}


@pytest.fixture
def rebuild(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("rebuild_benchmarks")


def write(folder: Path, *names: str) -> Gathered:
    """Records of these parts, and what is gathered of them."""
    for name in names:
        part, samples, options = PARTS[name]
        about = (f"python -m it --{name}", f"c0de{name}", "avx512", MACHINE)
        made = Record(part, *about, options, {"convmill": {"numpy": "2", "keras": "3"}}, samples)
        (folder / f"{name}.json").write_text(json.dumps(asdict(made)))
    return gather(folder)


def lines(rebuild: ModuleType, gathered: Gathered) -> list[str]:
    return rebuild.page(gathered).splitlines()


def test_convmill_in_another_form_is_no_peer(rebuild, tmp_path):
    page = lines(rebuild, write(tmp_path, "nets"))
    ratios = "6,000 (4,000..8,000) | 2,000 (2,000..2,000), PyTorch | 3.00 | "
    (row,) = [line for line in page if line.startswith(f"| gap | {ratios}")]
    assert row.endswith("| 5,000 (5,000..5,000) | 2.50 | 0.25 |")
    told = " ".join(page)
    assert "peer: training 3.00, least 3.00 (`gap`); evaluation 3.00, least 3.00 (`gap`)." in told
    assert "has: training 2.50, least 2.50 (`gap`); evaluation 2.67, least 2.67 (`gap`)." in told
    assert "- `gap`: random images." in page
    assert "- Left out: JAX (not there)." in page
    assert "- gap, jax: no figures. it fell over" in page
    assert not any("PROVISIONAL" in line for line in page)


def test_means_are_geometric_and_over_all_records(rebuild, tmp_path):
    gathered = write(tmp_path, "nets", "notebook")
    assert list(gathered.nets) == ["notebook", "gap"]  # in the benchmark's order
    told = " ".join(lines(rebuild, gathered))
    assert "peer: training 2.45, least 2.00 (`notebook`);" in told  # the root of 2 x 3
    assert all(f"code `c0de{name}`" in told for name in ("nets", "notebook"))
    short = rebuild.short_table(gathered)
    assert "| notebook | 2.00 | 3.00 |\n| gap | 3.00 | 3.00 |\n" in short
    assert "code `c0denets`, `c0denotebook`" in " ".join(short.split())


def test_a_part_that_was_not_measured_keeps_out(rebuild, tmp_path):
    page = lines(rebuild, write(tmp_path, "latency"))
    assert [line for line in page if line.startswith("## ")] == ["## Targets", "## One image"]
    assert "| two threads over one | at least 1.85 | not measured | - |" in page


def test_every_part_has_its_section_with_its_command(rebuild, tmp_path):
    page = lines(rebuild, write(tmp_path, *PARTS))
    assert sum(line.startswith("## ") for line in page) == 9
    assert all(f"python -m it --{name}" in page for name in PARTS)
    for row in (
        "| PyTorch | 110 (110..110) | 110 (110..110) | 60 (60..60) |",
        "| the quickest peer over convmill | 10.00 | 5.50 | 2.00 |",
        "| gap | 2 | 190 (190..190) | 1.90 (1.90..1.90) | 0.50 (0.50..0.50) | 0.67 |",
        "| convmill | an epoch | 6.00 (6.00..6.00) |",
        "| PyTorch | 50 steps | 5.00 (5.00..5.00) |",
        "| `import keras` | 2.50 (2.00..3.00) |",
        "| `import convmill` | it failed |",
        "| notebook | 0.300 (0.300..0.300) | 0.100 (0.100..0.100) | 0.200 (0.200..0.200) "
        "| 0.040 (0.040..0.040) |",
        "| fast | 2 | 99.10 +- 1.27 | 2 | 0.75 (0.50..1.00) | 0.50 (0.25..0.75) |",
        "| convmill | 300 | 340 | 350 | 400 | 50 |",
        "| gap | 1,000 (1,000..1,000) | 940 (940..940) | 6.0% | 0.20% | 3.0 (2.0..4.0) | 2 |",
    ):
        assert row in page


def test_targets_are_met_or_not(tmp_path):
    found = {row[0]: row[2:] for row in targets.rows(write(tmp_path, *PARTS))}
    expected = {
        "notebook, training over the best peer": ["2", "no"],
        "all 16 nets, training over the best peer: least": ["2 (`notebook`, of 2 nets)", "-"],
        "compiling ResNet-20, nothing on disk": ["not measured", "-"],
        "loading code from the disk": ["0.04 s (`notebook`, of 1 nets)", "yes"],
        "notebook, peak memory over the data and Keras itself": [
            *("50 MB (40 of them once Keras has built the model)", "yes"),
        ],
        "notebook, peak memory over the least of the peers": ["0.8 (over keras-tensorflow)", "yes"],
        "two threads over one": ["1.9 (`gap`, of 1 nets)", "yes"],
        "beside a busy process, over the share of the CPU": ["0.75 (`gap` with 2 threads)", "no"],
        "MNIST, recipe `fast`: test accuracy": ["99.10 % (mean of 2 seeds)", "yes"],
        "MNIST, recipe `fast`: training alone": ["0.75 s (compiling 0.50 s apart)", "yes"],
        # 0.75 s of five times 60,000 images at 3,000 a second
        "its training over five epochs of the notebook by Keras on TensorFlow": [
            *("0.0075 (100 s there)", "yes"),
        ],
    }
    assert {what: found[what] for what in expected} == expected
    (late,) = [row for what, row in found.items() if what.startswith("start of Python")]
    assert late == ["1.2", "no"]


def test_nobody_at_rest_is_told(rebuild, tmp_path):
    write(tmp_path, "notebook")
    found = record.read(tmp_path / "notebook.json")
    for each in found.samples["nets"][0]["peers"]:
        each["training"] = [chunk(100, others=0.7)] * 3
    (tmp_path / "notebook.json").write_text(json.dumps(asdict(replace(found, code="abc+"))))
    told = " ".join(lines(rebuild, gather(tmp_path)))
    assert "PROVISIONAL: other programs took 0.7 cores" in told
    assert "code `abc` with changes that are in no commit" in told


def test_two_records_of_the_same_are_refused(tmp_path):
    write(tmp_path, "notebook", "latency")
    (tmp_path / "other.json").write_bytes((tmp_path / "notebook.json").read_bytes())
    with pytest.raises(RecordError, match=r"notebook\.json and other\.json both .*'notebook'"):
        gather(tmp_path)
    (tmp_path / "other.json").write_bytes((tmp_path / "latency.json").read_bytes())
    with pytest.raises(RecordError, match=r"latency\.json and other\.json both .*'latency'"):
        gather(tmp_path)


def test_the_page_lies_beside_its_folder(rebuild, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setattr("sys.argv", ["rebuild", str(folder)])
    with pytest.raises(SystemExit, match="no records"):
        rebuild.main()
    write(folder, *PARTS)
    readme = rebuild.README.read_bytes()
    rebuild.main()
    text = (tmp_path / "mine.md").read_text()
    shown = [line.partition("](")[2][:-1] for line in text.splitlines() if line.startswith("![")]
    assert sorted(shown) == sorted(f"mine/{name}.svg" for name in pictures.PICTURES)
    assert all((tmp_path / name).stat().st_size for name in shown)
    assert rebuild.README.read_bytes() == readme
    for file in folder.glob("[!l]*.json"):
        file.unlink()
    rebuild.main()  # what is shown no more is removed
    assert [file.name for file in folder.glob("*.svg")] == ["latency.svg"]


@pytest.mark.parametrize("quick", [False, True])
def test_every_part_of_make_bench_is_told_what_it_takes(quick):
    for part in everything.PARTS.values():
        suffix = "" if "." in part.module else ".__main__"
        command = importlib.import_module(part.module + suffix).main
        options = part.quick if quick else part.options
        context = command.make_context("it", options.split())
        assert sorted(record.command_line(context).split()) == sorted(["it", *options.split()])
