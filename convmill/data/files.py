"""What a data set known by name is made of: its files, their hashes, and who serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class IdxFile:
    """One IDX file. Of the hashes, at least one is known.

    content_sha256 is of the file without gzip, for packed copies differ; gz_sha256 is of the
    packed file as published.
    """

    name: str
    shape: tuple[int, ...]
    content_sha256: str | None = None
    gz_sha256: str | None = None


@dataclass(frozen=True)
class BatchFile:
    """One pickled batch of images and labels, as CIFAR has them.

    Attributes:
        shape: of its images, (n, height, width, channels).
        labels: under which key the labels are that are wanted.
        sha256: of the file.
    """

    name: str
    shape: tuple[int, int, int, int]
    labels: str
    sha256: str


@dataclass(frozen=True)
class Archive:
    """The whole set in one file: .npz with the four arrays, or a tar file with the batch files.

    Attributes:
        folder: in which folder of the tar file the batch files are.
    """

    name: str
    size: int
    sha256: str
    folder: str = ""


@dataclass(frozen=True)
class Mirror:
    """A folder on a server. It holds the archive, or the four IDX files packed with gzip."""

    url: str
    holds: Literal["archive", "idx"]


@dataclass(frozen=True)
class KnownSet:
    """A data set that this package finds, fetches and verifies by itself.

    Attributes:
        files: IDX files in the order of ARRAY_NAMES, or batch files, the last one for the test.
        cache_folder: the folder for these files in the cache; Keras' own where it has one.
        coarse: the same images with labels that tell fewer classes apart.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    files: tuple[IdxFile, ...] | tuple[BatchFile, ...]
    cache_folder: str
    mirrors: tuple[Mirror, ...]
    archive: Archive | None = None
    coarse: KnownSet | None = None

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the arrays, in the order of ARRAY_NAMES."""
        shapes = [file.shape for file in self.files]
        if isinstance(self.files[0], IdxFile):
            return tuple(shapes)
        train, test, image = sum(shape[0] for shape in shapes[:-1]), shapes[-1][0], shapes[0][1:]
        return (train, *image), (train,), (test, *image), (test,)
