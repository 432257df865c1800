"""Builds one module's operator from its named tensors, checking every shape first."""

import math
from collections.abc import Mapping
from typing import Never

from torch import Tensor

from ..errors import LoraFormatError
from .configs import AdapterConfig, check_alpha
from .operators import Full, Hadamard, Kronecker, LowRank, Magnitude, Operator, delta_shape, tucker
from .safeguard import clean_text

Parts = Mapping[str, Tensor]

MAX_DELTA_ELEMENTS = 2**27


def build_operator(module: str, parts: Parts, config: AdapterConfig | None = None) -> Operator:
    """Chooses and checks the operator that a module's tensors describe.

    Args:
        module: its name, for messages and for the settings' patterns.
        parts: slot name (see `names.ParsedName`) -> tensor.
        config: PEFT settings, or None where alpha lies in the tensors.

    Raises:
        LoraFormatError: UNPAIRED, RANK_MISMATCH, BAD_SHAPE, BAD_ALPHA, UNSUPPORTED_OP, AMBIGUOUS.
    """
    kinds = {kind for slot in parts if (kind := _kind(slot))}
    if not kinds:
        _fail("UNPAIRED", module, f"only {sorted(parts)}, no weights beside it")
    if len(kinds) > 1:
        _fail("AMBIGUOUS", module, f"holds {' and '.join(sorted(kinds))} at once")
    operator = _BUILDERS[kinds.pop()](module, parts, config)
    _check_size(module, delta_shape(operator))
    return operator


def _kind(slot: str) -> str | None:
    if slot in ("down", "up", "mid"):
        return "lora"
    if slot in ("diff", "diff_b"):
        return "full"
    return {"hada": "loha", "lokr": "lokr"}.get(slot.partition("_")[0])


def _low_rank(module: str, parts: Parts, config: AdapterConfig | None) -> LowRank:
    _require(module, parts, "down", "up")
    down, up, mid = parts["down"], parts["up"], parts.get("mid")
    for name in ("down", "up", "mid"):
        if name in parts and parts[name].ndim not in ((4,) if name == "mid" else (2, 4)):
            _fail("BAD_SHAPE", module, f"{name} is {list(parts[name].shape)}, expected 2 or 4 axes")
    if any(size != 1 for size in (*up.shape[2:], *(down.shape[2:] if mid is not None else ()))):
        _fail("BAD_SHAPE", module, f"a 1x1 factor has shape {list(up.shape)} or {list(down.shape)}")
    rank = down.shape[0]
    if up.shape[1] != rank or (mid is not None and mid.shape[:2] != (rank, rank)):
        shapes = [list(value.shape) for value in (down, up, mid) if value is not None]
        _fail("RANK_MISMATCH", module, f"factors {shapes} share no rank")
    return LowRank(down, up, mid, _scale(module, parts, rank, config), _magnitude(module, parts))


def _hadamard(module: str, parts: Parts, config: AdapterConfig | None) -> Hadamard:
    _require(module, parts, "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    if ("hada_t1" in parts) != ("hada_t2" in parts):
        _fail("UNPAIRED", module, "one of hada_t1, hada_t2 is missing")
    first, second = (
        _product_shape(
            module, parts[f"hada_w{i}_a"], parts[f"hada_w{i}_b"], parts.get(f"hada_t{i}")
        )
        for i in (1, 2)
    )
    if first != second:
        _fail("BAD_SHAPE", module, f"the two products are {list(first)} and {list(second)}")
    rank = parts["hada_w1_b"].shape[0]
    return Hadamard(
        w1_a=parts["hada_w1_a"],
        w1_b=parts["hada_w1_b"],
        w2_a=parts["hada_w2_a"],
        w2_b=parts["hada_w2_b"],
        t1=parts.get("hada_t1"),
        t2=parts.get("hada_t2"),
        scale=_scale(module, parts, rank, config),
        magnitude=_magnitude(module, parts),
    )


def _kronecker(module: str, parts: Parts, config: AdapterConfig | None) -> Kronecker:
    w1, rank1 = _kron_factor(module, parts, 1)
    w2, rank2 = _kron_factor(module, parts, 2)
    if w1.ndim != 2 or w2.ndim not in (2, 4):
        _fail("BAD_SHAPE", module, f"Kronecker factors {list(w1.shape)} and {list(w2.shape)}")
    rank = rank1 or rank2
    if rank is not None:
        scale = _scale(module, parts, rank, config)
    elif config is not None and config.rank is not None:
        scale = config.scale_of(module, config.rank)
    else:
        _alpha(module, parts, limited=False)
        scale = 1.0
    return Kronecker(w1, w2, scale, _magnitude(module, parts))


def _kron_factor(module: str, parts: Parts, index: int) -> tuple[Tensor, int | None]:
    """One factor multiplied out, and its rank if it was stored as a product."""
    whole, a, b = (parts.get(f"lokr_w{index}{part}") for part in ("", "_a", "_b"))
    if whole is not None and (a is not None or b is not None):
        _fail("AMBIGUOUS", module, f"lokr_w{index} is stored both whole and as a product")
    if whole is not None:
        return whole, None
    if a is None or b is None:
        _fail("UNPAIRED", module, f"lokr_w{index} is missing, or half of its product")
    core = parts.get("lokr_t2") if index == 2 else None
    _check_size(module, _product_shape(module, a, b, core))
    product = a.float() @ b.float() if core is None else tucker(core, a, b)
    return product, b.shape[0]


def _product_shape(module: str, a: Tensor, b: Tensor, core: Tensor | None) -> tuple[int, ...]:
    if a.ndim != 2 or b.ndim != 2 or (core is not None and core.ndim != 4):
        _fail("BAD_SHAPE", module, f"factors {list(a.shape)} and {list(b.shape)} need 2 axes")
    if core is None:
        if a.shape[1] != b.shape[0]:
            _fail("RANK_MISMATCH", module, f"factors {list(a.shape)} and {list(b.shape)}")
        return (a.shape[0], b.shape[1])
    if core.shape[:2] != (a.shape[0], b.shape[0]):
        _fail(
            "RANK_MISMATCH",
            module,
            f"core {list(core.shape)} between {list(a.shape)} and {list(b.shape)}",
        )
    return (a.shape[1], b.shape[1], *core.shape[2:])


def _check_size(module: str, shape: tuple[int, ...]) -> None:
    """Refuses thin factors that would multiply out to a matrix no model has."""
    if math.prod(shape) > MAX_DELTA_ELEMENTS:
        _fail(
            "BAD_SHAPE", module, f"a change of {list(shape)} exceeds {MAX_DELTA_ELEMENTS} numbers"
        )


def _full(module: str, parts: Parts, config: AdapterConfig | None) -> Full:
    del config
    if "dora_scale" in parts or "magnitude" in parts:
        _fail("UNSUPPORTED_OP", module, "DoRA norms beside a full difference")
    return Full(parts.get("diff"), parts.get("diff_b"))


def _scale(module: str, parts: Parts, rank: int, config: AdapterConfig | None) -> float:
    alpha = _alpha(module, parts)
    if alpha is not None:
        return alpha / rank
    return 1.0 if config is None else config.scale_of(module, rank)


def _alpha(module: str, parts: Parts, *, limited: bool = True) -> float | None:
    """The stored alpha; the size limit is lifted where alpha has no effect (whole LoKr)."""
    value = parts.get("alpha")
    if value is None:
        return None
    if value.numel() != 1:
        _fail("BAD_ALPHA", module, f"alpha has shape {list(value.shape)}, expected one number")
    alpha = float(value.float().item())
    return check_alpha(module, alpha) if limited else alpha


def _magnitude(module: str, parts: Parts) -> Magnitude | None:
    if "dora_scale" in parts and "magnitude" in parts:
        _fail("AMBIGUOUS", module, "holds DoRA norms twice")
    if "magnitude" in parts:
        return Magnitude(parts["magnitude"], per_output=True)
    return Magnitude(parts["dora_scale"]) if "dora_scale" in parts else None


def _require(module: str, parts: Parts, *slots: str) -> None:
    missing = [slot for slot in slots if slot not in parts]
    if missing:
        _fail("UNPAIRED", module, f"has {sorted(parts)}, lacks {missing}")


def _fail(code: str, module: str, reason: str) -> Never:
    raise LoraFormatError(code, f"{clean_text(module, 200)}: {reason}.")


_BUILDERS = {"lora": _low_rank, "full": _full, "loha": _hadamard, "lokr": _kronecker}
