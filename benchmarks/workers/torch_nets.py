"""A net of the benchmark as a PyTorch module that gives logits (its loss takes the softmax in)."""

import torch  # type: ignore[import-not-found]
from torch import nn

from benchmarks.costs import Shape, layer_cost, same_padding
from benchmarks.nets import (
    Act,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Depthwise,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Net,
    Residual,
)


class ResidualBlock(nn.Module):
    """relu(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _activation(name: str) -> list[nn.Module]:
    return [nn.ReLU(inplace=True)] if name == "relu" else []


def _convolution(layer: Conv | Depthwise, shape: Shape) -> list[nn.Module]:
    """Keras' padding: symmetric zeros go into the convolution, odd ones into a module before."""
    channels = shape[2]
    filters = layer.filters if isinstance(layer, Conv) else channels
    groups = 1 if isinstance(layer, Conv) else channels
    (top, bottom), (left, right) = (0, 0), (0, 0)
    if layer.padding == "same":
        top, bottom = same_padding(shape[0], layer.kernel[0], layer.stride)
        left, right = same_padding(shape[1], layer.kernel[1], layer.stride)
    if (top, left) == (bottom, right):
        return [
            nn.Conv2d(channels, filters, layer.kernel, layer.stride, (top, left), groups=groups)
        ]
    padding = nn.ZeroPad2d((left, right, top, bottom))
    return [padding, nn.Conv2d(channels, filters, layer.kernel, layer.stride, groups=groups)]


def _modules(layer: Layer, shape: Shape) -> list[nn.Module]:
    match layer:
        case Conv():
            return _convolution(layer, shape) + _activation(layer.activation)
        case Depthwise():
            return _convolution(layer, shape)
        case BatchNorm():
            return [nn.BatchNorm2d(shape[2], eps=1e-3, momentum=0.01)]
        case Act():
            return _activation(layer.activation)
        case MaxPool():
            return [nn.MaxPool2d(layer.size)]
        case AveragePool():
            return [nn.AvgPool2d(layer.size)]
        case GlobalAveragePool():
            return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        case Flatten():
            return [nn.Flatten()]
        case Dropout():
            return [nn.Dropout(layer.rate)]
        case Dense():
            return [nn.Linear(shape[0], layer.units), *_activation(layer.activation)]
        case Residual():
            return [ResidualBlock(_chain(layer.body, shape), _chain(layer.shortcut, shape))]
    raise TypeError(f"no PyTorch module for {layer!r}")


def _chain(chain: tuple[Layer, ...], shape: Shape) -> nn.Sequential:
    modules: list[nn.Module] = []
    for layer in chain:
        modules += _modules(layer, shape)
        shape = layer_cost(layer, shape).output
    return nn.Sequential(*modules)


def build(net: Net) -> nn.Sequential:
    """(n, channels, height, width) -> logits; first weights as in Keras (Glorot uniform, zero)."""
    model = _chain(net.layers, net.input_shape)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def count_parameters(model: nn.Module) -> int:
    """Variables as Keras counts them: weights, and the running means and variances."""
    running = sum(
        buffer.numel() for name, buffer in model.named_buffers() if name.endswith(("_mean", "_var"))
    )
    return running + sum(weight.numel() for weight in model.parameters())


def optimizer(net: Net, model: nn.Module) -> torch.optim.Optimizer:
    """The net's optimizer with Keras' constants (rho 0.9, epsilon 1e-7)."""
    weights = list(model.parameters())
    match net.optimizer:
        case "rmsprop":
            return torch.optim.RMSprop(weights, net.learning_rate, alpha=0.9, eps=1e-7)
        case "adam":
            return torch.optim.Adam(weights, net.learning_rate, eps=1e-7)
        case "sgd":
            return torch.optim.SGD(weights, net.learning_rate)
