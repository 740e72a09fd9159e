"""The pass that decides how each stage is computed: algorithm and tiles. Decided here, once.

    [conv 3x3, 32 -> 64]  =>  [conv, forward Winograd 5 rows ..., dX placed, dW live 3 rows x 6]

Nothing here changes a result by one bit but the number of lanes, the algorithm, and how many taps
of a filter lie beside each other; tiles only move time. Register tiles are those that need fewest
cycles by a simple model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from convmill.lower.choices import (
    ConvolutionChoice,
    DenseChoice,
    DepthwiseChoice,
    Direct,
    Gathered,
    Live,
    MatrixTile,
    Narrow,
    Outer,
    Placed,
    TransposedChoice,
    Winograd,
    WinogradWeights,
)
from convmill.lower.machine import Machine
from convmill.lower.network import Gradients
from convmill.lower.register_tiles import SPARE_REGISTERS, evenly, sums_tile, tile_cycles
from convmill.lower.stages import (
    ConvolutionStage,
    DenseStage,
    DepthwiseStage,
    Stage,
    TransposedStage,
    WeightedStage,
)
from convmill.lower.winograd import (
    is_dense,
    power_of_two,
    winograd_back,
    winograd_forward,
    winograd_weights,
)

IMAGES_PER_GROUP = 8
MOST_NARROW_WORK = 128  # multiply-adds a vector of filters: above, lists of live places are quicker
LEAST_PLACED = 16  # filters: of fewer hardly any are live at one place, and all take a word
MOST_OUTPUTS = 4  # along an axis of Winograd's tiles; with 2 small integers stay exact
MOST_GATHERED = 32  # images: a part of a batch is a multiple of them
GATHERED_BYTES = 256 * 1024 * 1024  # that their values may take, all stages together
LEVEL_1_BYTES = 32 * 1024
OUTER_BYTES = 512 * 1024  # of images and gradients: they should stay in the second cache
LEAST_PLACES = 64  # of an image, for weights to be laid out anew
LARGE_BYTES = 512 * 1024  # of a dense layer's weights: above, each group of images waits for them
LEAST_SHARED = 4  # vectors of columns, for threads to share
PANEL_BYTES = 24 * 1024  # of weights that stay in the first cache
MOST_COLUMNS = 8  # of a depthwise convolution: more bring nothing


def choose(stages: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine) -> list[Stage]:
    """Every convolution and dense layer with its choice."""
    limits = Limits.of(stages)
    return [
        _chosen(stage, gradients, machine, limits)
        for stage, gradients in zip(stages, wanted, strict=True)
    ]


@dataclass(frozen=True)
class Limits:
    """What a choice must heed of all the stages: how many read each kernel, and how many images are
    gathered at most."""

    uses: Mapping[int, int]
    images: int

    @classmethod
    def of(cls, stages: Sequence[Stage]) -> Limits:
        """Those of a net."""
        uses = Counter(stage.kernel for stage in stages if isinstance(stage, WeightedStage))
        image_bytes = max(1, sum(4 * stage.output.size for stage in stages))
        images = min(MOST_GATHERED, power_of_two(GATHERED_BYTES // image_bytes))
        return cls(uses, max(IMAGES_PER_GROUP, images))

    def outputs(self, stage: WeightedStage) -> int:
        """The most along an axis of Winograd's tiles. Stages that share a kernel share its
        transforms."""
        return MOST_OUTPUTS if self.uses[stage.kernel] == 1 else 2


def _chosen(stage: Stage, wanted: Gradients, machine: Machine, limits: Limits) -> Stage:
    match stage:
        case ConvolutionStage():
            choice = choose_convolution(
                stage, wanted, machine, limits.outputs(stage), limits.images
            )
            return replace(stage, choice=choice)
        case DepthwiseStage():
            return replace(stage, choice=choose_depthwise(stage, wanted, machine))
        case TransposedStage():
            return replace(stage, choice=choose_transposed(stage, wanted, machine))
        case DenseStage():
            return replace(stage, choice=choose_dense(stage, wanted, machine))
    return stage


# Convolutions ------------------------------------------------------------------------------------


def choose_convolution(
    stage: ConvolutionStage, wanted: Gradients, machine: Machine, most: int, images: int
) -> ConvolutionChoice:
    """Winograd where it pays, with at most so many outputs along an axis; weight gradients are
    gathered from at most so many images."""
    back = _backward(stage, wanted, machine, most) if wanted.input else None
    return ConvolutionChoice(
        winograd_forward(stage, machine, most) or forward_tile(stage, machine),
        back,
        _weight_gradient(stage, back, machine, most, images) if wanted.weights else None,
    )


def _backward(
    stage: ConvolutionStage, wanted: Gradients, machine: Machine, most: int
) -> Live | Placed | Gathered | Winograd:
    """Where Winograd does not pay: along live places, or by live filters of a place, where there
    are dead ones."""
    tiled = winograd_back(stage, machine, most)
    if tiled is not None:
        return tiled
    if is_dense(stage):
        return gathered_tile(stage, machine)
    if wanted.weights and has_many_live(stage):
        return placed_chunk(stage, machine)  # without weights reports count what is on lists
    return live_chunk(stage, machine)


def _weight_gradient(
    stage: ConvolutionStage, back: object, machine: Machine, most: int, images: int
) -> Live | Narrow | Outer | WinogradWeights:
    """Along the lists of live places where there are some; a first layer of small windows, whose
    input wants no gradient, goes over all places."""
    if back is None and is_narrow(stage):
        return narrow_tile(stage, machine)
    if not isinstance(back, Live | Placed):
        tiled = winograd_weights(stage, machine, most, images)
        if tiled is not None:
            return tiled
    return outer_tile(stage, machine) if is_dense(stage) else live_chunk(stage, machine)


def gathered_tile(stage: ConvolutionStage, machine: Machine) -> Gathered:
    """Places of a row of one sub-grid, times vectors of channels."""
    columns = -(-stage.input.width // stage.strides[1])
    tile = sums_tile(columns, stage.input.channels, machine)
    return Gathered(tile.rows, tile.vectors)


def outer_tile(stage: ConvolutionStage, machine: Machine) -> Outer:
    """Few filters, so that a part of the window as large as can be is read for all of them."""
    filters = min(stage.output.channels, 8 if machine.registers >= 32 else 4)
    budget = max(1, (machine.registers - SPARE_REGISTERS) // filters)
    vectors = -(-stage.run_length // machine.lanes)
    images = max(1, OUTER_BYTES // (4 * (stage.input.size + stage.output.size)))
    if vectors >= budget:
        return Outer(filters, 1, evenly(vectors, budget), images)
    return Outer(filters, min(stage.kernel_size[0], budget // vectors), vectors, images)


def is_narrow(stage: ConvolutionStage) -> bool:
    """Whether a first layer's windows are so small (grey or RGB images) that its weight gradient is
    quicker with filters in the lanes, over all places, than along lists of live ones."""
    return stage.groups == 1 and stage.taps * math.prod(stage.pool) <= MOST_NARROW_WORK


def forward_tile(stage: ConvolutionStage, machine: Machine) -> Direct:
    """The tile that needs fewest cycles by a simple model: fused multiply-adds and loads, two of
    each a cycle, remainders at the right edge counted, ties to the larger tile, then to one whose
    weights stay in the first cache, then to the one that loads less. Its sums, its weights and what
    they are multiplied with stay in registers."""
    return min(forward_tiles(stage, machine))[-1]


def forward_tiles(
    stage: ConvolutionStage, machine: Machine
) -> Iterator[tuple[float, int, bool, int, Direct]]:
    """The quickest tile for each number of vectors, behind what it is quickest by."""
    blocks = -(-stage.output.channels // stage.groups // machine.lanes)
    window = stage.pool[0] * stage.pool[1]
    height, width = stage.output.height, stage.output.width
    budget = machine.registers - SPARE_REGISTERS
    beside = taps_beside(stage, machine) if lays_out(stage, machine) else 1
    for vectors in (v for v in (1, 2, 3, 4, 6) if v <= blocks):
        if vectors > 1 and vectors * window + vectors + 1 >= machine.registers:
            continue  # one pooling window alone is too much
        most = max(1, (budget - vectors) // (vectors * window))
        late = 4 * stage.taps * vectors * machine.lanes > PANEL_BYTES
        best: tuple[float, int, bool, int, Direct] | None = None
        for windows in range(1, min(most, width) + 1):
            rows = min(height, max(1, most // windows)) if windows == width else 1
            cycles = tile_cycles(rows, windows, vectors, window, height, width, blocks)
            places = rows * windows * window
            if best is None or (cycles, -places * vectors) < best[:2]:
                unroll = tap_unroll(stage, places * vectors) if beside == 1 else 1
                tile = Direct(rows, windows, vectors, unroll, beside)
                best = (cycles, -places * vectors, late, places + vectors, tile)
        assert best is not None
        yield best


def lays_out(stage: ConvolutionStage, machine: Machine) -> bool:
    """Whether weights may be laid out anew for each image: they stay in the first cache, and there
    are enough places to read them."""
    small = 4 * stage.taps * machine.lanes <= LEVEL_1_BYTES
    return small and stage.groups == 1 and math.prod(stage.computed) >= LEAST_PLACES


def taps_beside(stage: ConvolutionStage, machine: Machine) -> int:
    """Neighbouring taps for which each filter finds a lane of its own in one vector."""
    return power_of_two(min(machine.lanes // stage.output.channels, stage.run_length))


def tap_unroll(stage: ConvolutionStage, accumulators: int) -> int:
    """Taps of one run written out behind one another: all of a short run, else few. No more than
    from one place to the next: what two places read would stay in registers, instead of sums."""
    most = stage.run_length if stage.run_length <= 7 else max(1, 48 // accumulators)
    most = min(most, stage.strides[1] * stage.input.channels)
    return max(u for u in range(1, most + 1) if stage.run_length % u == 0)


def live_chunk(stage: ConvolutionStage, machine: Machine) -> Live:
    """The largest part of a filter that fits the registers, cut evenly."""
    budget = max(4, machine.registers - 5)
    vectors = -(-stage.run_length // machine.lanes)
    rows = min(stage.kernel_size[0], budget)
    pieces = -(-vectors * rows // budget)
    while -(-vectors // pieces) * rows > budget:
        pieces += 1
    images = max(1, min(4, LEVEL_1_BYTES // (4 * stage.input.size)))
    return Live(rows, -(-vectors // pieces), images)


def has_many_live(stage: ConvolutionStage) -> bool:
    """Whether many filters are live at one place: not of few, nor behind pooling."""
    few = stage.output.channels < LEAST_PLACED
    return stage.groups == 1 and not stage.pooled and not few


def placed_chunk(stage: ConvolutionStage, machine: Machine) -> Placed:
    """The largest part of a window that fits the registers, cut evenly."""
    chunk = live_chunk(stage, machine)
    return Placed(chunk.rows, chunk.vectors)


def narrow_tile(stage: ConvolutionStage, machine: Machine) -> Narrow:
    """As many taps beside each other as there is room for; their sums over all places."""
    taps = taps_beside(stage, machine)
    sums = stage.taps // stage.run_length * stage.groups_of_taps(taps)
    return Narrow(sums_at_once(sums, machine), taps)


def sums_at_once(sums: int, machine: Machine) -> int:
    """So many of them stay in registers over all places; of more, LLVM moves some away."""
    return evenly(sums, machine.registers * 3 // 4)


# Transposed convolutions -------------------------------------------------------------------------


def choose_transposed(
    stage: TransposedStage, wanted: Gradients, machine: Machine
) -> TransposedChoice:
    """Tiles of the products that are wanted; forward a row of one sub-grid's places goes together.
    """
    channels, filters = stage.input.channels, stage.output.channels
    return TransposedChoice(
        sums_tile(-(-stage.output.width // stage.strides[1]), filters, machine),
        sums_tile(stage.input.width, channels, machine) if wanted.input else None,
        sums_tile(filters, channels, machine) if wanted.weights else None,
    )


# Depthwise convolutions --------------------------------------------------------------------------


def choose_depthwise(stage: DepthwiseStage, wanted: Gradients, machine: Machine) -> DepthwiseChoice:
    """Weights stay in half of the registers, as far as they fit, sums in most of the others."""
    weights = min(stage.taps, machine.registers // 2)
    columns = min(MOST_COLUMNS, machine.registers - weights - 2)
    sums = sums_at_once((stage.taps + 1) * stage.multiplier, machine)
    return DepthwiseChoice(evenly(stage.output.width, columns), sums if wanted.weights else None)


# Dense layers ------------------------------------------------------------------------------------


def choose_dense(stage: DenseStage, wanted: Gradients, machine: Machine) -> DenseChoice:
    """Tiles of the products that are wanted."""
    return DenseChoice(
        product_tile(stage.output.channels, machine),
        product_tile(stage.input.channels, machine) if wanted.input else None,
        weight_tile(stage, machine) if wanted.weights else None,
        panel_rows(stage, machine),
    )


def panel_rows(stage: DenseStage, machine: Machine) -> int | None:
    """Rows of weights that are laid out at a time for all images of a batch, whole squares of
    lanes; None where all weights stay in the second cache, or there are few columns to share."""
    inner, units = stage.input.channels, stage.output.channels
    if 4 * inner * units < LARGE_BYTES or min(inner, units) < LEAST_SHARED * machine.lanes:
        return None
    widest = product_tile(max(inner, units), machine).vectors * machine.lanes
    return PANEL_BYTES // (4 * widest) // machine.lanes * machine.lanes


def product_tile(columns: int, machine: Machine) -> MatrixTile:
    """Tile of a matrix product with ``columns`` outputs: rows are images."""
    blocks = -(-columns // machine.lanes)
    wide = machine.registers >= 32
    return MatrixTile(IMAGES_PER_GROUP if wide else 4, evenly(blocks, 3 if wide else 2))


def weight_tile(stage: DenseStage, machine: Machine) -> MatrixTile:
    """Tile of a dense layer's weight gradient: rows are inputs."""
    blocks = -(-stage.output.channels // machine.lanes)
    vectors = min(blocks, 4 if machine.registers >= 32 else 2)
    budget = (machine.registers - SPARE_REGISTERS) // vectors
    return MatrixTile(max(1, min(stage.input.channels, 6, budget)), vectors)


# Sub-batches -------------------------------------------------------------------------------------


def whole_images(stages: Iterable[Stage]) -> int:
    """The least number of images of which a sub-batch must hold a whole multiple, so that sums over
    a batch are taken in the same groups however it is cut."""
    together = [IMAGES_PER_GROUP]
    for stage in stages:
        if isinstance(stage, ConvolutionStage) and stage.choice is not None:
            chunk = stage.choice.weight_gradient
            together += [chunk.images] if isinstance(chunk, Live | WinogradWeights) else []
    return math.lcm(*together)
