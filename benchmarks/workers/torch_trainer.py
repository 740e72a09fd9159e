"""Plain PyTorch: tensors in memory, batches gathered by index, no DataLoader; eager or compiled."""

import shutil
from collections.abc import Callable

import numpy as np
import torch  # type: ignore[import-not-found]
from torch.nn.functional import cross_entropy  # type: ignore[import-not-found]

from benchmarks.images import Images
from benchmarks.nets import Net
from benchmarks.workers import torch_nets
from benchmarks.workers.trainer import Span

COMPILERS = ("g++", "clang++", "c++")


class TorchTrainer:
    """Options: `channels_last` (of images and weights), `compile` (torch.compile)."""

    def __init__(self, net: Net, images: Images, threads: int, options: dict[str, bool]) -> None:
        if options.get("compile") and not any(map(shutil.which, COMPILERS)):
            raise RuntimeError(
                f"torch.compile needs a C++ compiler; none of {', '.join(COMPILERS)} is on the PATH"
            )
        torch.set_num_threads(threads)
        self.batch = net.batch
        self.format = (
            torch.channels_last if options.get("channels_last") else torch.contiguous_format
        )
        self.x, self.y = self._tensor(images.x), torch.from_numpy(images.labels)
        self.x_test, self.y_test = self._tensor(images.x_test), torch.from_numpy(images.labels_test)
        module = torch_nets.build(net).to(memory_format=self.format)
        self.parameters = torch_nets.count_parameters(module)
        self.optimizer = torch_nets.optimizer(net, module)
        self.model = torch.compile(module) if options.get("compile") else module

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        """(n, height, width, channels), any float -> (n, channels, height, width) float32."""
        tensor = torch.from_numpy(x).float().permute(0, 3, 1, 2)
        return tensor.contiguous(memory_format=self.format)

    def train(self, work: Span) -> float:
        self.model.train()
        for _ in range(work.passes):
            total = 0.0
            for indices in torch.randperm(work.images).split(self.batch):
                x, y = self.x[indices].contiguous(memory_format=self.format), self.y[indices]
                self.optimizer.zero_grad(set_to_none=True)
                loss = cross_entropy(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                total += loss.item()
        return total * self.batch / work.images

    def evaluate(self, work: Span, batch: int) -> float:
        self.model.eval()
        with torch.inference_mode():
            for _ in range(work.passes):
                right, total = 0, 0.0
                for x, y in zip(
                    self.x_test[: work.images].split(batch),
                    self.y_test[: work.images].split(batch),
                    strict=True,
                ):
                    logits = self.model(x)
                    total += cross_entropy(logits, y).item()
                    right += int((logits.argmax(1) == y).sum())
        return right / work.images

    def one_image(self, call: str) -> Callable[[], object] | None:
        x, y = self.x[:1].clone(memory_format=self.format), self.y[:1]

        def predict() -> np.ndarray:
            with torch.inference_mode():
                probabilities: np.ndarray = self.model(x).softmax(1).numpy()
                return probabilities

        def train() -> float:
            self.optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            return float(loss.item())

        self.model.train(call == "train_on_batch")
        return {"predict_on_batch": predict, "train_on_batch": train}.get(call)

    def touch_all(self) -> None:
        """Nothing to do: the tensors have held all images since the start."""
