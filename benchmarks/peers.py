"""The peers, as data: the Python, trainer, options and environment of each."""

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from convmill.runtime import host

ROOT = Path(__file__).resolve().parent.parent
PEERS_ENVIRONMENT = ROOT / ".venv-peers"

KERAS = "benchmarks.workers.keras_trainer:KerasTrainer"
TORCH = "benchmarks.workers.torch_trainer:TorchTrainer"
JAX = "benchmarks.workers.jax_trainer:JaxTrainer"


@dataclass(frozen=True)
class Peer:
    """Who it is, and how its worker runs.

    `environment` is what this peer alone gets; `imports` names modules to import before the
    trainer's; the report names the versions of `packages`. `root` is the checkout that it runs in,
    `target` the instructions that it is held to, and `found` another Python than the usual one.
    """

    name: str
    label: str
    trainer: str
    packages: tuple[str, ...]
    options: dict[str, bool] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    python: Literal["own", "peers"] = "peers"
    root: Path = ROOT
    target: str | None = None
    found: Path | None = None

    def executable(self) -> Path:
        """The Python that runs the benchmark for convmill, that of the peers' environment else."""
        return self.found or (Path(sys.executable) if self.python == "own" else peers_python())

    @property
    def modules(self) -> list[str]:
        """What it imports of its packages: TensorFlow's has several names."""
        return [package.removesuffix("-cpu") for package in self.packages]


def peers_python() -> Path:
    """Where the peers' environment has its Python; it may not have been made yet."""
    return PEERS_ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _keras(backend: str) -> dict[str, str]:
    return {"KERAS_BACKEND": backend}


# Compiling without a cache on the disk: the first step then costs what it first costs a user.
_INDUCTOR = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
_JIT = {"jit_compile": True}

_OURS = Peer(
    name="convmill",
    label="convmill",
    trainer=KERAS,
    packages=("convmill", "keras", "jax", "llvmlite", "numpy"),
    options={"accelerate": True},
    imports=("convmill",),
    # A net that convmill does not compile must be an error, never Keras' speed in its name.
    environment={**_keras("jax"), "CONVMILL_STRICT": "1"},
    python="own",
)

_ALL = (
    _OURS,
    replace(
        _OURS,
        name="convmill-avx2",
        label="convmill, AVX2",
        environment={**_OURS.environment, "CONVMILL_TARGET": "avx2"},
        target="avx2",
    ),
    Peer(
        "keras-tensorflow", "Keras-TF", KERAS, ("keras", "tensorflow-cpu"), {}, _keras("tensorflow")
    ),
    Peer(
        "keras-tensorflow-jit",
        "Keras-TF, XLA",
        KERAS,
        ("keras", "tensorflow-cpu"),
        _JIT,
        _keras("tensorflow"),
    ),
    Peer("keras-jax", "Keras-JAX", KERAS, ("keras", "jax"), {}, _keras("jax")),
    Peer("keras-torch", "Keras-PyTorch", KERAS, ("keras", "torch"), {}, _keras("torch")),
    Peer("jax", "JAX", JAX, ("jax",)),
    Peer("torch", "PyTorch", TORCH, ("torch",)),
    Peer("torch-channels-last", "PyTorch, NHWC", TORCH, ("torch",), {"channels_last": True}),
    Peer("torch-compile", "torch.compile", TORCH, ("torch",), {"compile": True}, _INDUCTOR),
)
PEERS = {peer.name: peer for peer in _ALL}
OURS = _OURS.name
# convmill and its other forms: none of them is one of the others that it is compared with.
OWN = (OURS, "convmill-avx2", "before")


def before(checkout: Path) -> Peer:
    """convmill as it is in another checkout, to be measured beside this one."""
    return replace(_OURS, name="before", label="convmill, before", root=checkout.resolve())


def chosen(names: list[str], target: str | None) -> tuple[list[Peer], list[Peer]]:
    """The peers of these names, convmill held to the target; and those whose own target is not
    narrower than what convmill compiles for here: they would show nothing new."""
    targets = list(host.targets())  # the widest first
    own = target or host.machine().target
    narrower = targets[targets.index(own) + 1 :] if own in targets else []
    peers = [PEERS[name] for name in names]
    kept = [peer for peer in peers if peer.target is None or peer.target in narrower]
    return [held_to(peer, target) for peer in kept], [peer for peer in peers if peer not in kept]


def held_to(peer: Peer, target: str | None) -> Peer:
    """convmill held to the instructions of a target; other peers, or held already, as they are."""
    if peer.python != "own" or target is None or peer.target is not None:
        return peer
    environment = {**peer.environment, "CONVMILL_TARGET": target}
    return replace(peer, environment=environment, target=target)


def run_by(peers: list[Peer], python: Path) -> tuple[list[Peer], list[Peer]]:
    """The peers, run by another Python, and those of them that are not installed there; convmill
    stays with its own. Raises OSError where that is no Python."""
    names = {name for peer in peers if peer.python == "peers" for name in peer.modules}
    program = "import importlib.util, sys; print(*filter(importlib.util.find_spec, sys.argv[1:]))"
    done = subprocess.run(
        [python, "-P", "-c", program, *sorted(names)],
        capture_output=True,
        text=True,
        env=plain_environment(),
    )
    if done.returncode:
        raise OSError(f"{python} failed: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    there = set(done.stdout.split())
    kept, missing = [], []
    for peer in peers:
        if peer.python == "own":
            kept.append(peer)
        elif there.issuperset(peer.modules):
            kept.append(replace(peer, found=python))
        else:
            missing.append(peer)
    return kept, missing


# Paths of other Pythons, and what would make every import compile its bytecode anew.
_LEFT_OUT = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}


def plain_environment() -> dict[str, str]:
    """This process's environment without what would favour one Python; CPU only."""
    inherited = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return {**inherited, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def worker_environment(peer: Peer, threads: int) -> dict[str, str]:
    """The whole environment of a peer's process, with the same threads for all."""
    count = str(threads)
    return {
        **plain_environment(),
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": count,
        "NPROC": count,  # the size of XLA's thread pool
        "CONVMILL_THREADS": count,
        "CONVMILL_CACHE": "",  # each first step compiles
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **peer.environment,
    }
