"""The data sets known by name: their files, the hashes of these, and where they can be had."""

from __future__ import annotations

from dataclasses import replace

from convmill.data.files import Archive, BatchFile, IdxFile, KnownSet, Mirror

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
    archive=Archive(
        "mnist.npz",
        11_490_434,
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    ),
    cache_folder="mnist",
    mirrors=(
        Mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/", "archive"),
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

# As Keras and the set's authors publish them. The hashes of the files within are those that
# several who have read the archive have published.
CIFAR_SHAPE = (32, 32, 3)
CIFAR_MIRRORS = (
    Mirror("https://www.cs.toronto.edu/~kriz/", "archive"),
    Mirror("https://dataset.bj.bcebos.com/cifar/", "archive"),
)
CIFAR10_SHA256 = {
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}
CIFAR10_CLASSES = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
CIFAR10 = KnownSet(
    name="cifar10",
    title="CIFAR-10, small colour photographs of animals and vehicles",
    class_names=tuple(CIFAR10_CLASSES.split(",")),
    files=tuple(
        BatchFile(name, (10_000, *CIFAR_SHAPE), "labels", sha256)
        for name, sha256 in CIFAR10_SHA256.items()
    ),
    archive=Archive(
        "cifar-10-python.tar.gz",
        170_498_071,
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        folder="cifar-10-batches-py",
    ),
    cache_folder="cifar-10-batches-py-target",
    mirrors=(
        *CIFAR_MIRRORS,
        Mirror(
            "https://huggingface.co/datasets/wyxu/dataset_copied/resolve/"
            "81a52b93ff1d1fcdf61a20d4197919c714730c2c/",
            "archive",
        ),
    ),
)

CIFAR100_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange
orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit
raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things
large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""
CIFAR100_FILES = (
    BatchFile(
        "train",
        (50_000, *CIFAR_SHAPE),
        "fine_labels",
        "735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b",
    ),
    BatchFile(
        "test",
        (10_000, *CIFAR_SHAPE),
        "fine_labels",
        "4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864",
    ),
)
CIFAR100_BY_GROUP = KnownSet(
    name="cifar100",
    title="CIFAR-100, small colour photographs of a hundred kinds of things",
    class_names=tuple(CIFAR100_COARSE.split()),
    files=tuple(replace(file, labels="coarse_labels") for file in CIFAR100_FILES),
    archive=Archive(
        "cifar-100-python.tar.gz",
        169_001_437,
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        folder="cifar-100-python",
    ),
    cache_folder="cifar-100-python-target",
    mirrors=(
        *CIFAR_MIRRORS,
        Mirror(
            "https://huggingface.co/datasets/nakroy/cifar100-python/resolve/"
            "201a32345d2c6b970e1a36c582930c83e09c96d2/",
            "archive",
        ),
    ),
)
CIFAR100 = replace(
    CIFAR100_BY_GROUP,
    class_names=tuple(CIFAR100_FINE.split()),
    files=CIFAR100_FILES,
    coarse=CIFAR100_BY_GROUP,
)

KNOWN_SETS = {known.name: known for known in (MNIST, FASHION_MNIST, CIFAR10, CIFAR100)}
