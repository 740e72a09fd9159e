"""The data sets known by name: their files, the hashes of these, and where they can be had."""

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
class NpzFile:
    """All four arrays in one file, as Keras keeps them."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Mirror:
    """A folder on a server. It holds the .npz file, or the four IDX files packed with gzip."""

    url: str
    holds: Literal["npz", "idx"]


@dataclass(frozen=True)
class KnownSet:
    """A data set that this package finds, fetches and verifies by itself.

    Attributes:
        files: the IDX files in the order of ARRAY_NAMES.
        cache_folder: the folder for the IDX files in the cache; Keras' own where it has one.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    files: tuple[IdxFile, ...]
    cache_folder: str
    mirrors: tuple[Mirror, ...]
    npz: NpzFile | None = None


IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
IDX_SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))

# Computed from the unpacked files.
MNIST_CONTENT = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
MNIST = KnownSet(
    name="mnist",
    title="MNIST, handwritten digits",
    class_names=tuple("0123456789"),
    files=tuple(
        IdxFile(name, shape, content_sha256=sha256)
        for name, shape, sha256 in zip(IDX_NAMES, IDX_SHAPES, MNIST_CONTENT, strict=True)
    ),
    # The hash that Keras checks.
    npz=NpzFile(
        "mnist.npz",
        11_490_434,
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    ),
    cache_folder="mnist",
    mirrors=(
        Mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/", "npz"),
        Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/", "idx"),
        Mirror("https://storage.googleapis.com/cvdf-datasets/mnist/", "idx"),
        Mirror("https://raw.githubusercontent.com/fgnt/mnist/master/", "idx"),
    ),
)

# Of the packed files, as TensorFlow Datasets publishes them beside its loader. We know of no
# published hashes of the unpacked content, so plain IDX files are checked by their sizes only.
FASHION_MNIST_GZ = (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)
FASHION_CLASSES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
FASHION_MNIST = KnownSet(
    name="fashion_mnist",
    title="Fashion-MNIST, pictures of clothes",
    class_names=tuple(FASHION_CLASSES.split(",")),
    files=tuple(
        IdxFile(name, shape, gz_sha256=sha256)
        for name, shape, sha256 in zip(IDX_NAMES, IDX_SHAPES, FASHION_MNIST_GZ, strict=True)
    ),
    cache_folder="fashion-mnist",
    mirrors=(
        Mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/", "idx"),
        Mirror(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "idx",
        ),
        # This server speaks no https; the hashes make up for it.
        Mirror("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", "idx"),
    ),
)

KNOWN_SETS = {known.name: known for known in (MNIST, FASHION_MNIST)}
