"""What happens to parameters at the end of a step: the regularizers' loss, the norms that clipping
wants, the optimizer's step.

Parameters that are treated alike share a function (``treatments.py``); a launch hands it its share.
"""

from __future__ import annotations

from convmill.kernels import ir, treatments
from convmill.kernels.build import Kernel
from convmill.kernels.lang import F32, F64
from convmill.kernels.treatments import treatment_of
from convmill.lower.launches import HYPER, PENALTIES, Launch, Shares, of_matrices, of_matrix
from convmill.lower.network import Matrix, Network
from convmill.plan.recipe import Clip


def penalties(network: Network) -> list[Launch]:
    """The regularizers' loss at the weights before the step."""
    return [
        Launch(
            "update.penalty",
            f"matrix{matrix.index}",
            Shares(1),
            (of_matrix("parameter", matrix.index),),
            (PENALTIES,),
            matrix.size,
        )
        for matrix in _regularized(network)
    ]


def slopes(network: Network) -> list[Launch]:
    """The regularizers' part of gradients that are handed to Keras; updates of ours add it as they
    go."""
    if not _bridged(network):
        return []
    return [
        Launch(
            "update.slope",
            f"matrix{matrix.index}",
            Shares(1),
            (of_matrix("parameter", matrix.index), of_matrix("gradient_of", matrix.index)),
            (of_matrix("gradient_of", matrix.index),),
            matrix.size,
        )
        for matrix in _regularized(network)
    ]


def norms(network: Network) -> list[Launch]:
    """Norms of all gradients, where clipping asks for them."""
    if _norm_clip(network) is None:
        return []
    return [
        Launch(
            "update.norm",
            f"matrix{matrix.index}",
            Shares(1),
            tuple(of_matrix(kind, matrix.index) for kind in ("parameter", "gradient_of", "state")),
            (of_matrix("norm", matrix.index),),
            matrix.size,
        )
        for matrix in network.trainable
    ]


def updates(network: Network, lanes: int) -> list[Launch]:
    """The optimizer's step on every trainable parameter; whole vectors of rows, for the copies
    behind it."""
    if _bridged(network):
        return []
    return [
        Launch(
            "update.step",
            f"matrix{matrix.index}",
            Shares(matrix.rows, lanes),
            (
                of_matrix("parameter", matrix.index),
                of_matrix("gradient_of", matrix.index),
                of_matrix("state", matrix.index),
                HYPER,
                *of_matrices("norm", _clipped_by(network, matrix)),
            ),
            (of_matrix("parameter", matrix.index), of_matrix("state", matrix.index)),
            matrix.size,
        )
        for matrix in network.trainable
    ]


def _bridged(network: Network) -> bool:
    assert network.recipe is not None
    return network.recipe.optimizer.bridged


def _regularized(network: Network) -> list[Matrix]:
    return [matrix for matrix in network.matrices if matrix.regularizer is not None]


def _norm_clip(network: Network) -> Clip | None:
    """Clipping by a norm, where the recipe clips so."""
    assert network.recipe is not None
    clip = network.recipe.optimizer.clip
    return None if clip is None or clip.kind == "value" else clip


def _clipped_by(network: Network, matrix: Matrix) -> tuple[Matrix, ...]:
    """The parameters whose norms scale the gradient of ``matrix``."""
    clip = _norm_clip(network)
    if clip is None:
        return ()
    return (matrix,) if clip.kind == "norm" else network.trainable


def write_penalty(k: Kernel) -> None:
    """l1 sum |w| + l2 sum w^2 of one parameter, into the step's row."""
    matrix = k.build.matrix(k.launch)
    asked = matrix.regularizer
    assert asked is not None
    every = _regularized(k.build.network)
    write = k.build.helper(("penalty", asked), lambda: treatments.penalty(k.build, asked))
    at = k.add(k.mul(k.told("step"), len(every)), every.index(matrix))
    target = k.at(k.pointer(PENALTIES), at)
    k.call(write, k.pointer(of_matrix("parameter", matrix.index)), matrix.size, target)


def write_slope(k: Kernel) -> None:
    """gradient = gradient + the regularizer's, of one parameter."""
    matrix = k.build.matrix(k.launch)
    treatment = treatment_of(matrix)
    write = k.build.helper(("slope", treatment), lambda: treatments.slope(k.build, treatment))
    arrays = (k.pointer(of_matrix(kind, matrix.index)) for kind in ("parameter", "gradient_of"))
    k.call(write, *arrays, matrix.size)


def write_norm(k: Kernel) -> None:
    """The norm of one parameter's gradient, regularizer included."""
    matrix = k.build.matrix(k.launch)
    treatment = treatment_of(matrix)
    write = k.build.helper(("norm", treatment), lambda: treatments.norm(k.build, treatment))
    kinds = ("parameter", "gradient_of", "state", "norm")
    *arrays, norm = (k.pointer(of_matrix(kind, matrix.index)) for kind in kinds)
    k.call(write, *arrays, matrix.size, norm)


def write_step(k: Kernel) -> None:
    """One step of the optimizer on a share of a parameter's rows."""
    matrix = k.build.matrix(k.launch)
    treatment = treatment_of(matrix)
    write = k.build.helper(("step", treatment), lambda: treatments.step(k.build, treatment))
    kinds = ("parameter", "gradient_of", "state")
    arrays = (k.pointer(of_matrix(kind, matrix.index)) for kind in kinds)
    first, last = (k.mul(k.told(name), matrix.columns) for name in ("first", "last"))
    assert k.build.network.recipe is not None
    told = len(k.build.network.recipe.optimizer.factors)
    hyper = k.at(k.pointer(HYPER), k.mul(k.told("step"), told))
    k.call(write, *arrays, first, last, hyper, _clip_scale(k, matrix))


def _clip_scale(k: Kernel, matrix: Matrix) -> ir.Value:
    """limit / max(norm, limit), by the norm of this parameter or of all; no number where that of
    all is infinite, as in Keras."""
    clip, b = _norm_clip(k.build.network), k.builder
    if clip is None:
        return ir.Constant(F32, 1.0)
    total: ir.Value = ir.Constant(F64, 0.0)
    for one in _clipped_by(k.build.network, matrix):
        part = b.fpext(k.load_scalar(k.pointer(of_matrix("norm", one.index)), 0), F64)
        total = b.fadd(total, b.fmul(part, part))
    norm, limit = k.intrinsic("sqrt", total), ir.Constant(F64, clip.limit)
    scale = b.fdiv(limit, k.largest(norm, limit))
    if clip.kind == "global_norm":
        scale = b.fadd(scale, b.fsub(norm, norm))
    return b.fptrunc(scale, F32)


KERNELS = {
    "update.penalty": write_penalty,
    "update.slope": write_slope,
    "update.norm": write_norm,
    "update.step": write_step,
}
