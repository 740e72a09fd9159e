"""Equal nets are equal data: names reach neither what is lowered nor native code."""

from __future__ import annotations

import re
import threading

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill.kernels.run import build_program
from convmill.lower.machine import TARGETS
from convmill.lower.passes import lower
from convmill.plan.read import read
from convmill.runtime import host, jit
from convmill.runtime.jit import compiled, planned
from tests.engine.nets import WIDTHS, recipe_of

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.random((16, 8, 8, 1), np.float32), RANDOM.integers(0, 3, 16)


def model(*names: str, filters: int = 5) -> keras.Sequential:
    """A small net whose layers have these names."""
    conv, pool, flat, dense = names
    made = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(filters, 3, activation="relu", name=conv),
            layers.MaxPooling2D(name=pool),
            layers.Flatten(name=flat),
            layers.Dense(3, activation="softmax", name=dense),
        ]
    )
    made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return convmill.accelerate(made, strict=True)


def use(made: keras.Sequential) -> list[np.ndarray]:
    """Trains, evaluates, predicts; what came out."""
    made.fit(X, Y, batch_size=4, verbose=0, shuffle=False)
    made.evaluate(X, Y, verbose=0)
    return [*made.get_weights(), made.predict(X, verbose=0)]


def test_a_second_equal_model_compiles_zero_times():
    use(model("a", "b", "c", "d", filters=6))
    before = compiled.cache_info()
    use(model("first", "second", "third", "fourth", filters=6))
    after = compiled.cache_info()
    assert after.misses == before.misses
    assert after.hits > before.hits
    use(model("a", "b", "c", "d", filters=7))
    assert compiled.cache_info().misses > after.misses


class Announced:
    """A lock that tells when somebody comes for it, before it is waited for."""

    def __init__(self) -> None:
        self.lock, self.came = threading.RLock(), threading.Semaphore(0)

    def __enter__(self) -> None:
        self.came.release()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_two_threads_compile_an_equal_model_once(monkeypatch):
    """The second asks while the first compiles, and waits for it."""
    network = lower(read(model("a", "b", "c", "d", filters=8)).graph, None, host.machine())
    lock, plain, calls, found = Announced(), jit.build_program, [], []
    second = threading.Thread(target=lambda: found.append(compiled(network, host.machine(), False)))

    def build(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            second.start()
            lock.came.acquire()
        return plain(*arguments, **options)

    monkeypatch.setattr(jit, "_COMPILING", lock)
    monkeypatch.setattr(jit, "build_program", build)
    lock.came.release()
    lock.came.acquire()
    first = compiled(network, host.machine(), False)
    second.join()
    assert len(calls) == 1
    assert found == [first]


def test_another_optimizer_is_another_code_for_training_alone():
    first, second = (model(*"abcd", filters=8) for _ in range(2))
    second.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    use(first)
    before = compiled.cache_info().misses
    use(second)
    assert compiled.cache_info().misses == before + 1


@pytest.mark.parametrize("width", WIDTHS)
def test_equal_nets_are_equal_data(width):
    one, other = (
        lower(read(model(*names)).graph, None, WIDTHS[width]) for names in ("abcd", "wxyz")
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one != lower(read(model(*"abcd", filters=6)).graph, None, WIDTHS[width])


@pytest.mark.parametrize(
    "names",
    [
        ("llvm", "run", "barrier", "transpose"),
        ("stage0", "stage1", "phase0", "net"),
        ("sched_yield", "llvm.memcpy", "cycles", "group"),
        ("a b", "schicht-ä", '"', "x" * 300),
    ],
    ids=["words", "ours", "symbols", "odd"],
)
def test_no_name_of_a_layer_means_anything(names):
    keras.utils.set_random_seed(3)
    plain = use(model("conv", "pool", "flat", "dense"))
    keras.utils.set_random_seed(3)
    for ours, theirs in zip(use(model(*names)), plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_reports_still_say_the_names():
    found = convmill.explain(model("llvm", "pool", "flat", "stage0"))
    assert [stage.name for stage in found.stages] == ["llvm", "stage0", "stage0/softmax"]
    assert found.stages[0].fused == ("pool",)
    assert "stage1.dense_forward" in found.ir("stage0", "inference")



def test_blocks_that_are_alike_share_code():
    """The first two have borders around what they read and write, the third writes without one."""
    image = keras.Input((8, 8, 4))
    x = image
    for _ in range(3):
        x = layers.Conv2D(4, 3, padding="same", activation="tanh")(x)
    network = lower(read(keras.Model(image, x)).graph, None, host.machine())
    code = compiled(network, host.machine(), False)
    shared = build_program(network, code.step, code.memory, host.machine(), False).text()
    for text, counts in ((code.source, [1, 1, 1]), (shared, [1, 0, 1])):
        defined = [text.count(f'define internal void @"stage{number}.') for number in range(3)]
        assert defined == counts


def test_blocks_share_code_wherever_their_memory_is():
    """What a normalization writes is a thread's own, what a merge writes an image's: images are
    other strides apart, and a kernel that goes through images is told which."""
    x = image = keras.Input((12, 12, 16))
    for _ in range(3):
        inner = layers.ReLU()(layers.BatchNormalization()(_convolution(x)))
        x = layers.ReLU()(layers.Add()([layers.BatchNormalization()(_convolution(inner)), x]))
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(x))
    machine = TARGETS["avx512"]
    recipe = recipe_of("categorical_crossentropy")
    network = lower(read(keras.Model(image, x)).graph, recipe, machine)
    step, memory = planned(network, machine, True)
    kernel = "winograd.weight_gradient"
    launches = [one for one in step.launches() if one.kernel == kernel]
    homes = {memory.places[slot.name].home for one in launches for slot in one.reads}
    assert len(launches) == 6
    assert homes == {"image", "thread"}
    text = build_program(network, step, memory, machine, True).text()
    assert len(re.findall(r'define internal void @"stage\d+\.winograd_weight_gradient"', text)) == 1


def _convolution(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Conv2D(16, 3, padding="same")(x)
