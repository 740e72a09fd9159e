"""What a net costs: shapes, parameters, multiply-adds, and the dense roofline of a machine."""

from dataclasses import dataclass

from benchmarks.nets import (
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Depthwise,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Net,
    Padding,
    Residual,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerCost:
    """`output` is a shape without the batch; `multiply_adds` is the forward pass of one image."""

    output: Shape
    parameters: int = 0
    multiply_adds: int = 0


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis under 'same': the odd one goes after, as in Keras and XLA."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _windows(size: int, kernel: int, stride: int, padding: Padding) -> int:
    return -(-size // stride) if padding == "same" else (size - kernel) // stride + 1


def _convolved(layer: Conv | Depthwise, shape: Shape) -> LayerCost:
    height, width, channels = shape
    rows = _windows(height, layer.kernel[0], layer.stride, layer.padding)
    columns = _windows(width, layer.kernel[1], layer.stride, layer.padding)
    area = layer.kernel[0] * layer.kernel[1]
    filters = layer.filters if isinstance(layer, Conv) else channels
    weights = area * channels * (filters if isinstance(layer, Conv) else 1)
    return LayerCost((rows, columns, filters), weights + filters, rows * columns * weights)


def layer_cost(layer: Layer, shape: Shape) -> LayerCost:
    """What one layer makes of an input of `shape` (without the batch axis), and at what cost."""
    match layer:
        case Conv() | Depthwise():
            return _convolved(layer, shape)
        case MaxPool() | AveragePool():
            return LayerCost((shape[0] // layer.size[0], shape[1] // layer.size[1], shape[2]))
        case GlobalAveragePool():
            return LayerCost((shape[-1],))
        case Flatten():
            count = 1
            for axis in shape:
                count *= axis
            return LayerCost((count,))
        case Dense():
            weights = shape[0] * layer.units
            return LayerCost((layer.units,), weights + layer.units, weights)
        case BatchNorm():
            return LayerCost(shape, 4 * shape[-1])
        case Residual():
            branches = [chain_costs(branch, shape) for branch in (layer.body, layer.shortcut)]
            costs = [cost for branch in branches for cost in branch]
            parameters = sum(cost.parameters for cost in costs)
            return LayerCost(
                branches[0][-1].output, parameters, sum(cost.multiply_adds for cost in costs)
            )
        case _:
            return LayerCost(shape)


def chain_costs(layers: tuple[Layer, ...], shape: Shape) -> list[LayerCost]:
    """The costs of a chain of layers, in order."""
    costs: list[LayerCost] = []
    for layer in layers:
        costs.append(layer_cost(layer, costs[-1].output if costs else shape))
    return costs


def parameters(net: Net) -> int:
    """All variables of the net, BatchNormalization's running statistics included."""
    return sum(cost.parameters for cost in chain_costs(net.layers, net.input_shape))


def forward_multiply_adds(net: Net) -> int:
    """Multiply-adds of one image's forward pass, counting convolutions and dense layers only."""
    return sum(cost.multiply_adds for cost in chain_costs(net.layers, net.input_shape))


def training_multiply_adds(net: Net) -> int:
    """Multiply-adds an image of dense training: forward, dX (not of the first layer) and dW."""
    costs = [cost.multiply_adds for cost in chain_costs(net.layers, net.input_shape)]
    first = next(cost for cost in costs if cost)
    return 3 * sum(costs) - first


def roofline(multiply_adds: int, gigaflops: float) -> float:
    """Images/s at which `multiply_adds` an image keep a machine of `gigaflops` wholly busy."""
    return gigaflops * 1e9 / (2 * multiply_adds)


def roof(net: Net, what: str, gigaflops: float | None) -> float | None:
    """Images/s of "training" or "evaluation" that keep a machine wholly busy, with nothing skipped;
    None where its peak was not measured."""
    work = training_multiply_adds if what == "training" else forward_multiply_adds
    return roofline(work(net), gigaflops) if gigaflops else None
