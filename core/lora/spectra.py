"""Singular values of the changes, from the factors: exact, and seconds on a CPU."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .operators import Full, Hadamard, Kronecker, LowRank, Operator, additive, rank

TOP_VALUES = 8
_BLOCK = re.compile(
    r"(?:(?:down|up|input|output|single|double|joint|transformer)_blocks[._]\d+)|mid_block|"
    r"middle_block|layers[._]\d+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSpectrum:
    """Singular values of one module's change, before DoRA's rescaling.

    Attributes:
        kind: operator class, lower case, ``+dora`` if it carries learned norms.
        rank: stored inner dimension, None where the file does not keep it.
        frobenius: root of the sum of squared singular values; ``spectral`` is the largest.
        stable_rank: ``frobenius^2 / spectral^2``.
        effective_rank: exponential of the entropy of the normalised singular values
            (Roy & Vetterli 2007).
        top: the largest values, descending.
    """

    component: str
    module: str
    kind: str
    rank: int | None
    frobenius: float
    spectral: float
    stable_rank: float
    effective_rank: float
    top: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BlockEnergy:
    """Share of the adapter's squared Frobenius norm in one block."""

    component: str
    block: str
    modules: int
    share: float


def singular_values(op: Operator) -> Tensor:
    """Singular values of the change as a matrix ``[out, in * kh * kw]``, descending, fp64."""
    match op:
        case LowRank():
            values = _of_product(op.up.double().flatten(1), _down_rows(op))
            return values * abs(op.scale)
        case Kronecker():
            left, right = (_svd(value.double().flatten(1)) for value in (op.w1, op.w2))
            values = torch.outer(left, right).flatten() * abs(op.scale)
            return values.sort(descending=True).values
        case Hadamard() if op.t1 is None and op.w1_a.shape[1] ** 2 < min(_outer(op)):
            values = _of_product(*_khatri_rao(op))
            return values * abs(op.scale)
        case Full() if op.weight is None:
            return torch.zeros(1, dtype=torch.float64)
        case _:
            dense = additive(op).double()
            return _svd(dense.flatten(1) if dense.ndim > 1 else dense[None])


def spectrum(component: str, module: str, op: Operator) -> ModuleSpectrum:
    """Summary of one module's singular values."""
    values = singular_values(op)
    total, largest = float(values.square().sum()), float(values[0])
    shares = values / values.sum() if largest > 0 else values
    entropy = float(-torch.special.xlogy(shares, shares).sum())
    dora = not isinstance(op, Full) and op.magnitude is not None
    return ModuleSpectrum(
        component=component,
        module=module,
        kind=type(op).__name__.lower() + ("+dora" if dora else ""),
        rank=rank(op),
        frobenius=total**0.5,
        spectral=largest,
        stable_rank=total / largest**2 if largest > 0 else 0.0,
        effective_rank=float(torch.tensor(entropy).exp()) if largest > 0 else 0.0,
        top=tuple(values[:TOP_VALUES].tolist()),
    )


def block_energy(spectra: Iterable[ModuleSpectrum]) -> tuple[BlockEnergy, ...]:
    """Energy of each block, in the order of first appearance; shares sum to 1."""
    sums: dict[tuple[str, str], list[float]] = {}
    for item in spectra:
        sums.setdefault((item.component, _block(item.module)), []).append(item.frobenius**2)
    total = sum(map(sum, sums.values())) or 1.0
    return tuple(
        BlockEnergy(component, block, len(energies), sum(energies) / total)
        for (component, block), energies in sums.items()
    )


def _block(module: str) -> str:
    match = _BLOCK.search(module)
    return match[0].replace("._", ".") if match else "other"


def _down_rows(op: LowRank) -> Tensor:
    """The factor ``[r, in * kh * kw]`` right of ``up``, the Tucker core folded in."""
    down = op.down.double()
    if op.mid is None:
        return down.flatten(1)
    return torch.einsum("rskl,si->rikl", op.mid.double(), down.flatten(1)).flatten(1)


def _khatri_rao(op: Hadamard) -> tuple[Tensor, Tensor]:
    """Factors of the entrywise product: ``(A1 B1) * (A2 B2) = (A1 . A2)(B1 . B2)``, rank r^2."""
    left = torch.einsum("or,os->ors", op.w1_a.double(), op.w2_a.double()).flatten(1)
    right = torch.einsum("ri,si->rsi", op.w1_b.double(), op.w2_b.double()).flatten(0, 1)
    return left, right


def _outer(op: Hadamard) -> tuple[int, int]:
    return op.w1_a.shape[0], op.w1_b.shape[1]


def _of_product(left: Tensor, right: Tensor) -> Tensor:
    """Singular values of ``left @ right`` through two thin QRs and one small SVD."""
    upper_left = torch.linalg.qr(left, mode="r").R
    upper_right = torch.linalg.qr(right.T, mode="r").R
    return _svd(upper_left @ upper_right.T)


def _svd(matrix: Tensor) -> Tensor:
    return torch.linalg.svdvals(matrix)
