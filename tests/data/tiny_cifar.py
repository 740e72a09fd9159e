"""Tiny sets in the form of CIFAR's: pickles as Python 2 wrote them, loose and in a tar file."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np

from convmill.data.files import Archive, BatchFile, KnownSet, Mirror

COUNT = 6
SHAPE = (COUNT, 32, 32, 3)
FOLDER = "tiny-batches-py"
ARCHIVE = "tiny-python.tar.gz"


def text(value: str | bytes) -> bytes:
    """The opcodes for a Python 2 string."""
    content = value.encode() if isinstance(value, str) else value
    return b"T" + struct.pack("<i", len(content)) + content


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def array(rows: np.ndarray) -> bytes:
    """The opcodes for an array of bytes, (n, m), as NumPy on Python 2 wrote it."""
    shape = number(rows.shape[0]) + number(rows.shape[1]) + b"\x86"
    kind = b"cnumpy\ndtype\n" + text("u1") + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text("|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    new = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85"
    new += text("b") + b"\x87R"
    return new + b"(" + number(1) + shape + kind + b"\x89" + text(rows.tobytes()) + b"tb"


def batch_pickle(**items: bytes) -> bytes:
    """The pickle of a dict, each value in opcodes."""
    pairs = b"".join(text(key) + value for key, value in items.items())
    return b"\x80\x02}(" + pairs + b"u."


def labels_pickled(labels: list[int]) -> bytes:
    return b"](" + b"".join(map(number, labels)) + b"e"


class TinyCifar:
    """Three batches of 6 images, the last for the test; `known` is the set with their hashes."""

    def __init__(self, *mirrors: Mirror, name: str = "tiny") -> None:
        random = np.random.default_rng(5)
        self.batches: dict[str, bytes] = {}
        self.images, self.labels, self.groups = [], [], []
        for each in ("data_batch_1", "data_batch_2", "test_batch"):
            rows = random.integers(0, 256, (COUNT, 3 * 32 * 32), dtype=np.uint8)
            labels = random.integers(0, 4, COUNT).tolist()
            self.images.append(rows.reshape(COUNT, 3, 32, 32).transpose(0, 2, 3, 1))
            self.labels.append(labels)
            self.groups.append([label // 2 for label in labels])
            self.batches[each] = batch_pickle(
                data=array(rows),
                labels=labels_pickled(labels),
                coarse_labels=labels_pickled(self.groups[-1]),
            )
        self.archive = tar_of(self.batches)
        coarse = self._known(name, "coarse_labels", ("low", "high"), mirrors, None)
        self.known = self._known(name, "labels", ("a", "b", "c", "d"), mirrors, coarse)

    def _known(
        self,
        name: str,
        labels: str,
        class_names: tuple[str, ...],
        mirrors: tuple[Mirror, ...],
        coarse: KnownSet | None,
    ) -> KnownSet:
        return KnownSet(
            name=name,
            title="Tiny",
            class_names=class_names,
            files=tuple(
                BatchFile(each, SHAPE, labels, hashlib.sha256(content).hexdigest())
                for each, content in self.batches.items()
            ),
            archive=Archive(
                ARCHIVE, len(self.archive), hashlib.sha256(self.archive).hexdigest(), FOLDER
            ),
            cache_folder="tiny-target",
            mirrors=mirrors,
            coarse=coarse,
        )

    def write(self, folder: Path) -> Path:
        """The loose batch files."""
        folder.mkdir(parents=True)
        for name, content in self.batches.items():
            (folder / name).write_bytes(content)
        return folder

    def write_archive(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.archive)
        return path


def tar_of(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in {"readme.html": b"<p>", **files}.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
