"""The package as a whole: its layers import one way, and its wheel holds what it should."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "convmill"
BENCHMARK = ROOT / "benchmarks"
# A layer may import those before it. What is not named here may be imported by all, or is a door
# into the package, which imports all of them.
ORDER = (
    *("plan", "lower", "design", "kernels", "runtime", "train", "data", "inspection", "view"),
    *("presets", "study", "page", "cli"),
)
# Packages that may be imported in few places only, and packages that some layers never import.
ONLY_IN = {
    "llvmlite": ("runtime/",),
    "keras.src": ("train/attach/",),
    "jax": (
        *("train/attach/gradients.py", "train/attach/initial.py"),
        *("train/keras_steps.py", "train/late.py", "runtime/reserve.py"),
        "view/gradient.py",
    ),
    "matplotlib": ("view/",),
}
NEVER_IN = {
    "keras": ("lower/", "design/", "kernels/", "runtime/", "data/"),
    "numpy": ("kernels/",),
}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of everything that a file imports, wherever in it; `from a import b`: a.b."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def layer(module: str) -> str | None:
    """Which layer a module of ours belongs to."""
    top, *rest = module.split(".")
    return rest[0] if top == "convmill" and rest and rest[0] in ORDER else None


def test_imports_go_one_way():
    against = []
    for path in sorted(PACKAGE.rglob("*.py")):
        here = path.relative_to(PACKAGE).parts[0]
        if here not in ORDER:
            continue
        for module, line in imports(path):
            there = layer(module)
            if there is not None and ORDER.index(there) > ORDER.index(here):
                against.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {module}")
    assert not against, "\n".join(against)


def within(folder: str) -> dict[str, set[str]]:
    """For each module of a folder, those of the same folder that it imports."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (PACKAGE / folder).rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for here, path in files.items():
        names = {module for module, _ in imports(path)}
        # what is imported is a module, or something in one
        names |= {name.rpartition(".")[0] for name in names - set(files)}
        found[here] = names & set(files)
    return found


@pytest.mark.parametrize("folder", ORDER)
def test_no_folder_has_a_circle_of_imports(folder):
    try:
        TopologicalSorter(within(folder)).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def importers(package: str) -> Iterator[tuple[str, str]]:
    """(file within ours, what to say) of every import of a package from outside."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for module, line in imports(path):
            if module == package or module.startswith(f"{package}."):
                yield name, f"convmill/{name}:{line}: {module}"


@pytest.mark.parametrize(("package", "places"), ONLY_IN.items())
def test_imported_in_few_places_only(package, places):
    assert [said for name, said in importers(package) if not name.startswith(places)] == []


@pytest.mark.parametrize(("package", "places"), NEVER_IN.items())
def test_never_imported_there(package, places):
    assert [said for name, said in importers(package) if name.startswith(places)] == []


def test_every_layer_is_there():
    assert [name for name in ORDER if not (PACKAGE / name).is_dir()] == []


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(tmp_path / built.stdout.split()[-1]) as wheel:
        names = wheel.namelist()
        points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "convmill = convmill.cli:main" in wheel.read(points).decode()
    assert "convmill/py.typed" in names
    assert "convmill/study/shipped/pooling.toml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    modules = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    benchmark = {f"convmill/bench/{path.relative_to(ROOT)}" for path in BENCHMARK.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules | benchmark
    assert {name.split("/")[0].split("-")[0] for name in names} == {"convmill"}
