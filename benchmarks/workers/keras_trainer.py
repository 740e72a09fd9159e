"""Keras' `fit` and `evaluate` on any backend; and convmill: the same code and one call more."""

from collections.abc import Callable

import keras

from benchmarks.images import Images, one_hot
from benchmarks.nets import Net
from benchmarks.workers import keras_nets
from benchmarks.workers.trainer import Span


class KerasTrainer:
    """Options: `jit_compile` (as in `compile`), `accelerate` (hand the model to convmill)."""

    def __init__(self, net: Net, images: Images, threads: int, options: dict[str, bool]) -> None:
        if keras.backend.backend() == "torch":
            import torch  # type: ignore[import-not-found]

            torch.set_num_threads(threads)
        self.batch = net.batch
        self.images = images
        self.y = one_hot(images.labels, net.classes)
        self.y_test = one_hot(images.labels_test, net.classes)
        if options.get("accelerate"):
            import convmill.models  # before the model is made, as in a script of its users
        model = keras_nets.build(net)
        model.compile(
            optimizer=keras_nets.optimizer(net),
            loss="categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=True if options.get("jit_compile") else "auto",
        )
        if options.get("accelerate"):
            from convmill.runtime import host

            model, self.target = convmill.accelerate(model), host.machine().target
        self.model = model
        self.parameters = model.count_params()

    def train(self, work: Span) -> float:
        x, y = self.images.x[: work.images], self.y[: work.images]
        history = self.model.fit(x, y, batch_size=self.batch, epochs=work.passes, verbose=0)
        return float(history.history["loss"][-1])

    def evaluate(self, work: Span, batch: int) -> float:
        x, y = self.images.x_test[: work.images], self.y_test[: work.images]
        for _ in range(work.passes):
            accuracy = self.model.evaluate(x, y, batch_size=batch, verbose=0)[1]
        return float(accuracy)

    def one_image(self, call: str) -> Callable[[], object]:
        x, y = self.images.x[:1].copy(), self.y[:1].copy()
        calls: dict[str, Callable[[], object]] = {
            "predict_on_batch": lambda: self.model.predict_on_batch(x),
            "predict": lambda: self.model.predict(x, verbose=0),
            "train_on_batch": lambda: self.model.train_on_batch(x, y),
        }
        return calls[call]

    def touch_all(self) -> None:
        x, y = self.images.x, self.y
        self.model.fit(x, y, batch_size=self.batch, steps_per_epoch=1, verbose=0)
