"""The weight changes an adapter can hold, in one form whatever tool wrote the file.

``delta`` gives the dense change of one weight in fp32. Sources: LoRA (2106.09685), LoHa and
LoKr (LyCORIS, 2309.14859), DoRA (2402.09353), rsLoRA (2312.03732).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LoraFormatError


@dataclass(frozen=True, slots=True, eq=False)
class Magnitude:
    """DoRA's learned norms.

    Attributes:
        values: one norm for each output ``[out]``, ``[out, 1, ...]``, ``[1, out, 1, 1]``, or
            each input ``[1, in, ...]``.
        per_output: True if the file's format fixes the output axis (PEFT); None if the shape
            must tell (LyCORIS writes both).
    """

    values: Tensor
    per_output: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """``scale * up @ down``, with a Tucker core ``mid`` ``[r, r, kh, kw]`` for convolutions.

    Attributes:
        down: ``[r, in]`` or ``[r, in, kh, kw]``.
        up: ``[out, r]`` or ``[out, r, 1, 1]``.
    """

    down: Tensor
    up: Tensor
    mid: Tensor | None
    scale: float
    magnitude: Magnitude | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Hadamard:
    """LoHa: ``scale * (w1_a @ w1_b) * (w2_a @ w2_b)``, or its Tucker form with ``t1``, ``t2``.

    Attributes:
        w1_a: ``[out, r]``, or ``[r, out]`` beside ``t1``. ``w2_a`` likewise.
        w1_b: ``[r, in]`` or ``[r, in * kh * kw]``. ``w2_b`` likewise.
        t1: ``[r, r, kh, kw]`` or None. ``t2`` likewise.
    """

    w1_a: Tensor
    w1_b: Tensor
    w2_a: Tensor
    w2_b: Tensor
    t1: Tensor | None
    t2: Tensor | None
    scale: float
    magnitude: Magnitude | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Kronecker:
    """LoKr: ``scale * kron(w1, w2)``, the factors already multiplied out."""

    w1: Tensor
    w2: Tensor
    scale: float
    magnitude: Magnitude | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Full:
    """A dense difference of weight, bias, or both, stored as such."""

    weight: Tensor | None
    bias: Tensor | None


Operator = LowRank | Hadamard | Kronecker | Full


def delta(op: Operator, weight: Tensor) -> Tensor:
    """Dense change of one weight.

    Args:
        op: what the adapter holds for the module.
        weight: the base weight, any float type; its values matter to DoRA only.

    Returns:
        fp32, shaped like ``weight``, on its device.

    Raises:
        LoraFormatError: BAD_SHAPE if the change does not fit the weight.
    """
    shape = tuple(weight.shape)
    if not fits(delta_shape(op), shape):
        raise LoraFormatError(
            "BAD_SHAPE",
            f"the adapter's change is {list(delta_shape(op))}, the weight is {list(shape)}.",
        )
    if isinstance(op, Full) and op.weight is None:
        return torch.zeros(shape, device=weight.device)
    change = additive(op).to(weight.device).reshape(shape)
    if isinstance(op, Full) or op.magnitude is None:
        return change
    return _decompose(op.magnitude, weight, change)


def additive(op: Operator) -> Tensor:
    """The change before DoRA's rescaling, fp32, in the adapter's own shape."""
    match op:
        case LowRank():
            return op.scale * _low_rank(op)
        case Hadamard():
            left = _factor(op.w1_a, op.w1_b, op.t1)
            return op.scale * left * _factor(op.w2_a, op.w2_b, op.t2)
        case Kronecker():
            return op.scale * _kron(op.w1.float(), op.w2.float())
        case Full():
            return torch.zeros(()) if op.weight is None else op.weight.float()


def delta_shape(op: Operator) -> tuple[int, ...]:
    """Shape of the change as the adapter states it; ``()`` for a change of bias alone."""
    match op:
        case LowRank():
            kernel = op.down.shape[2:] if op.mid is None else op.mid.shape[2:]
            return (op.up.shape[0], op.down.shape[1], *kernel)
        case Hadamard():
            if op.t1 is not None:
                return (op.w1_a.shape[1], op.w1_b.shape[1], *op.t1.shape[2:])
            return (op.w1_a.shape[0], op.w1_b.shape[1])
        case Kronecker():
            return (
                op.w1.shape[0] * op.w2.shape[0],
                op.w1.shape[1] * op.w2.shape[1],
                *op.w2.shape[2:],
            )
        case Full():
            return () if op.weight is None else tuple(op.weight.shape)


def fits(change: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    """Whether a change of one shape belongs to a weight of the other.

    Kernels may be flattened into the input axis, as LyCORIS and 1x1 convolutions have it.
    """
    if change == () or change == weight:
        return True
    if len(change) == len(weight) or len(change) < 2 or len(weight) < 2:
        return False
    return change[0] == weight[0] and math.prod(change[1:]) == math.prod(weight[1:])


def tensors_of(op: Operator) -> dict[str, Tensor]:
    """The operator's tensors by field name, DoRA's norms included."""
    tensors = {
        name: getattr(op, name) for name in op.__slots__ if name not in ("scale", "magnitude")
    }
    if not isinstance(op, Full) and op.magnitude is not None:
        tensors["magnitude"] = op.magnitude.values
    return {name: value for name, value in tensors.items() if value is not None}


def is_zero(op: Operator) -> bool:
    """Whether the operator can change nothing: scale 0, or a factor that is all zeros."""
    if isinstance(op, Full):
        return not any(bool(value.float().any()) for value in tensors_of(op).values())
    if op.magnitude is not None:
        return False
    return op.scale == 0 or any(not bool(value.float().any()) for value in tensors_of(op).values())


def rank(op: Operator) -> int | None:
    """Inner dimension of a LowRank or Hadamard operator, None where the file does not keep it."""
    match op:
        case LowRank():
            return op.down.shape[0]
        case Hadamard():
            return op.w1_b.shape[0]
        case _:
            return None


def tucker(core: Tensor, out_factor: Tensor, in_factor: Tensor) -> Tensor:
    """Weight ``[out, in, kh, kw]`` from ``core`` ``[r, s, kh, kw]``, ``[r, out]``, ``[s, in]``."""
    return torch.einsum("rskl,ro,si->oikl", core.float(), out_factor.float(), in_factor.float())


def _low_rank(op: LowRank) -> Tensor:
    down, up = op.down.float(), op.up.float().flatten(1)
    if op.mid is not None:
        return tucker(op.mid, up.T, down.flatten(1))
    return (up @ down.flatten(1)).reshape(delta_shape(op))


def _factor(a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    return a.float() @ b.float() if core is None else tucker(core, a, b)


def _kron(w1: Tensor, w2: Tensor) -> Tensor:
    return torch.kron(w1.reshape(*w1.shape, *[1] * (w2.ndim - w1.ndim)), w2.contiguous())


def _decompose(magnitude: Magnitude, weight: Tensor, change: Tensor) -> Tensor:
    """DoRA: ``m * (W + dW) / ||W + dW|| - W``, in fp64 because two near-equal weights subtract."""
    merged = weight.double() + change.double()
    axis = _magnitude_axis(magnitude, tuple(weight.shape))
    others = tuple(dim for dim in range(merged.ndim) if dim != axis)
    norm = torch.linalg.vector_norm(merged, dim=others, keepdim=True)
    norms = magnitude.values.double().to(weight.device).reshape(norm.shape)
    factor = norms / norm.clamp_min(torch.finfo(torch.float32).tiny)
    return (merged * factor - weight.double()).float()


def _magnitude_axis(magnitude: Magnitude, shape: tuple[int, ...]) -> int:
    values = magnitude.values
    if magnitude.per_output and values.numel() == shape[0]:
        return 0
    if magnitude.per_output is None:
        if values.shape[0] == shape[0] == values.numel():
            return 0
        if values.ndim > 1 and values.shape[0] == 1 and values.numel() == shape[1]:
            return 1
    raise LoraFormatError(
        "BAD_SHAPE", f"DoRA norms {list(values.shape)} do not fit a weight {list(shape)}."
    )
