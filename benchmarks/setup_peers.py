"""`python -m benchmarks.setup_peers`: make `.venv-peers` from `requirements-peers.txt`.

Does nothing where the environment is there and the requirements have not changed since.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks.peers import PEERS_ENVIRONMENT, ROOT, peers_python

REQUIREMENTS = ROOT / "benchmarks" / "requirements-peers.txt"
INSTALLED = PEERS_ENVIRONMENT / "installed-requirements.txt"
GPU_PACKAGES = ("nvidia-", "cuda-", "triton", "pytorch-triton")


def _pip(*arguments: str) -> None:
    subprocess.run([str(peers_python()), "-m", "pip", "--quiet", *arguments], check=True)


def planned() -> list[str]:
    """The packages that pip would install now, as "name version"; nothing is installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        _pip("install", "--dry-run", "--report", str(report), "-r", str(REQUIREMENTS))
        items = json.loads(report.read_text())["install"]
    return [f"{item['metadata']['name'].lower()} {item['metadata']['version']}" for item in items]


def gpu_packages(packages: list[str]) -> list[str]:
    """Those of them that come only with a build for GPUs."""
    return [package for package in packages if package.startswith(GPU_PACKAGES)]


def main() -> int:
    """Make or mend the environment; returns the exit code."""
    if INSTALLED.exists() and INSTALLED.read_text() == REQUIREMENTS.read_text():
        return 0
    print(f"setting up {PEERS_ENVIRONMENT.name} (about 3 GB, some minutes)", file=sys.stderr)
    if not peers_python().exists():
        venv.create(PEERS_ENVIRONMENT, with_pip=True)
        (PEERS_ENVIRONMENT / ".gitignore").write_text("*\n")
    try:
        unwanted = gpu_packages(planned())
        if unwanted:
            print(
                f"pip would install packages for GPUs: {', '.join(unwanted)}.\n"
                "Nothing was installed: the benchmark compares CPUs. Let pip find the CPU build\n"
                "of torch (PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL), then try again.",
                file=sys.stderr,
            )
            return 1
        _pip("install", "-r", str(REQUIREMENTS))
    except subprocess.CalledProcessError as error:
        print(
            f"pip failed with exit code {error.returncode}; its message stands above.",
            file=sys.stderr,
        )
        return 1
    shutil.copyfile(REQUIREMENTS, INSTALLED)
    print(f"{PEERS_ENVIRONMENT.name} is ready", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
