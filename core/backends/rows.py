"""Base and tuned rows through one network: the adapter acts on each row with its own strength.

Two forwards of one batch each cost the weights twice; here the base layer runs once for all rows
and the adapter's change is added to the rows that ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, LoraFormatError, RunError, plural
from ..lora.operators import Full, LowRank, Operator, delta, delta_shape, fits
from ..types import BASE, TUNED

Patch = LowRank | Full
Call = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The rows that the adapter acts on: all of `count` (index None), or those at `index`."""

    count: int
    index: Tensor | None
    strength: Tensor


class RowAdapter:
    """Forward hooks that add ``strength[row] * change(x[row])`` to the outputs of layers.

    Linear and Conv2d take every operator; GroupNorm and LayerNorm take full differences.
    Low-rank operators stay factored; LoHa, LoKr, DoRA and full differences are expanded once.
    Any strength works, negative ones too. For DoRA the expanded ``W' - W`` is exact at strength 1
    and interpolates linearly elsewhere, which is not DoRA with a scaled factor pair.

    Several adapters may share one network: each acts only inside its own `rows` block.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> change = Full(torch.eye(2), None)
        >>> with RowAdapter([(layer, change)]) as adapter, adapter.rows(torch.tensor([0.0, 2.0])):
        ...     y = layer(torch.ones(2, 2))
        >>> (y[1] - y[0]).round(decimals=4).tolist()
        [2.0, 2.0]
    """

    def __init__(
        self, targets: Iterable[tuple[nn.Module, Operator]], *, like: Tensor | None = None
    ):
        self._rows: _Rows | None = None
        patched = [(module, patch_of(op, module, like=like)) for module, op in targets]
        self._handles = [m.register_forward_hook(self._hook(patch)) for m, patch in patched]

    def __len__(self) -> int:
        return len(self._handles)

    def __enter__(self) -> RowAdapter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the hooks; the network is what it was before."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @contextmanager
    def rows(self, strength: Tensor) -> Iterator[None]:
        """Act on forwards inside the block, row i with ``strength[i]``.

        Args:
            strength: ``[N]``; N is the leading size of every hooked layer's input.
        """
        before, self._rows = self._rows, _active(strength)
        try:
            yield
        finally:
            self._rows = before

    def _hook(self, patch: Patch) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            rows = self._rows
            if rows is None or not len(rows.strength):
                return None
            x = args[0]
            if len(x) != rows.count:
                raise RunError(
                    "BAD_ROWS",
                    f"a layer got {plural(len(x), 'row')}; strengths were set for {rows.count}",
                )
            if rows.index is None:
                return output.add_(change(patch, module, x, rows.strength))
            x = x.index_select(0, rows.index)
            return output.index_add_(0, rows.index, change(patch, module, x, rows.strength))

        return hook


def _active(strength: Tensor) -> _Rows:
    on = [i for i, s in enumerate(strength.tolist()) if s != BASE]
    if len(on) == len(strength):
        return _Rows(len(strength), None, strength)
    index = torch.tensor(on, dtype=torch.long, device=strength.device)
    return _Rows(len(strength), index, strength[index])


def patch_of(op: Operator, module: nn.Module, *, like: Tensor | None = None) -> Patch:
    """The operator made ready for one layer: on its device, in its dtype and shape.

    Args:
        op: the change.
        module: the layer.
        like: a tensor whose device and dtype to take, where weights rest elsewhere than they are
            used or are stored quantised; None: the layer's weight.

    Raises:
        LoraFormatError: the layer is of another kind, or the change does not fit it.
    """
    weight = _weight(module)
    like = weight if like is None else like
    if not fits(delta_shape(op), tuple(weight.shape)):
        raise LoraFormatError(
            "BAD_SHAPE",
            f"the adapter's change is {list(delta_shape(op))}, the layer's weight is "
            f"{list(weight.shape)}; the adapter belongs to another base model",
        )
    if isinstance(op, LowRank) and op.magnitude is None and _factors_fit(op, module):
        return _factors(op, module, like)
    if isinstance(op, Full):
        dense = None if op.weight is None else op.weight.reshape(weight.shape).to(like)
        return Full(dense, None if op.bias is None else op.bias.to(like))
    return Full(delta(op, weight).to(like), None)


def _weight(module: nn.Module) -> Tensor:
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise LoraFormatError("UNSUPPORTED_LAYER", f"a convolution pads with {module.padding_mode}")
    known = nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm
    if isinstance(module, known) and isinstance(module.weight, Tensor):
        return module.weight
    raise LoraFormatError(
        "UNSUPPORTED_LAYER",
        f"the adapter changes a layer of type {type(module).__name__}; supported are Linear, "
        "Conv2d, GroupNorm and LayerNorm",
    )


def _factors_fit(op: LowRank, module: nn.Module) -> bool:
    """Whether the factors run as two layers; grouped convolutions take the dense change."""
    if isinstance(module, nn.Linear):
        return op.mid is None
    if not isinstance(module, nn.Conv2d) or module.groups != 1:
        return False
    kernel = (op.down if op.mid is None else op.mid).shape[2:]
    return tuple(kernel) == module.kernel_size or (not kernel and module.kernel_size == (1, 1))


def _factors(op: LowRank, module: nn.Module, like: Tensor) -> LowRank:
    down, up, mid = op.down, op.up.flatten(1), op.mid
    if isinstance(module, nn.Linear):
        down = down.flatten(1)
    else:
        up = up[:, :, None, None]
        down = down if down.ndim == 4 else down[:, :, None, None]
    mid = None if mid is None else mid.to(like)
    return LowRank(down.to(like), up.to(like), mid, op.scale)


def change(patch: Patch, module: nn.Module, x: Tensor, strength: Tensor) -> Tensor:
    """What the adapter adds to a layer's output.

    Args:
        patch: from `patch_of`.
        module: the layer, whose stride, padding, dilation and groups hold.
        x: ``[n, ...]`` the layer's input.
        strength: ``[n]``.
    """
    if isinstance(patch, Full):
        out = _dense(patch, module, x)
        return out * _column(strength, out)
    scale = strength * patch.scale
    if isinstance(module, nn.Conv2d):
        return _convolve(patch, module, x, scale)
    hidden = F.linear(x, patch.down)
    return F.linear(hidden * _column(scale, hidden), patch.up)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).view(-1, *[1] * (like.ndim - 1))


def _convolve(patch: LowRank, module: nn.Conv2d, x: Tensor, scale: Tensor) -> Tensor:
    place: Any = (module.stride, module.padding, module.dilation)
    if patch.mid is None:
        hidden = F.conv2d(x, patch.down, None, *place)
    else:
        hidden = F.conv2d(F.conv2d(x, patch.down), patch.mid, None, *place)
    return F.conv2d(hidden * _column(scale, hidden), patch.up)


def _dense(patch: Full, module: nn.Module, x: Tensor) -> Tensor:
    weight = patch.weight
    if weight is None:
        weight = x.new_zeros(_weight(module).shape)
    if isinstance(module, nn.Conv2d):
        place: Any = (module.stride, module.padding, module.dilation, module.groups)
        return F.conv2d(x, weight, patch.bias, *place)
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(x, module.num_groups, weight, patch.bias, module.eps)
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, weight, patch.bias, module.eps)
    return F.linear(x, weight, patch.bias)


class RowNetwork(Protocol):
    """One role, such as the UNet, answering base and tuned rows."""

    @property
    def base(self) -> nn.Module:
        """The base's network."""
        ...

    def run(self, strength: Tensor, call: Call, *rows: Tensor) -> tuple[Tensor, ...]:
        """Run `call(network, *rows)`, each row on the model that `strength` asks for.

        Args:
            strength: ``[N]``.
            call: takes a network and the rows, returns tensors of N rows.
            rows: tensors of N rows.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class AdaptedNetwork:
    """The base with an adapter on it, or, without one, the base for all rows."""

    base: nn.Module
    adapter: RowAdapter | None = None

    def run(self, strength: Tensor, call: Call, *rows: Tensor) -> tuple[Tensor, ...]:
        """See `RowNetwork`: one forward for all rows."""
        if self.adapter is None:
            return call(self.base, *rows)
        with self.adapter.rows(strength):
            return call(self.base, *rows)


@dataclass(frozen=True, slots=True, eq=False)
class TwoNetworks:
    """A base and a fully fine-tuned network; there is nothing between strength 0 and 1."""

    base: nn.Module
    tuned: nn.Module

    def run(self, strength: Tensor, call: Call, *rows: Tensor) -> tuple[Tensor, ...]:
        """See `RowNetwork`: one forward per model, skipped where a model has no row.

        Raises:
            InputError: BAD_STRENGTH.
        """
        strengths = strength.tolist()
        check_whole(strengths)
        order, parts = [], []
        for network, value in ((self.base, BASE), (self.tuned, TUNED)):
            index = [i for i, s in enumerate(strengths) if s == value]
            if len(index) == len(strengths):
                return call(network, *rows)
            if index:
                parts.append(call(network, *(r[index] for r in rows)))
                order += index
        back = sorted(range(len(order)), key=order.__getitem__)
        return tuple(torch.cat(outs)[back] for outs in zip(*parts, strict=True))


def check_whole(strengths: Iterable[float]) -> None:
    """Every row asks for the base or for the tuned model; there is nothing between checkpoints.

    Raises:
        InputError: BAD_STRENGTH.
    """
    odd = sorted({s for s in strengths if s not in (BASE, TUNED)})
    if odd:
        raise InputError(
            "BAD_STRENGTH",
            f"strength {odd[0]:g} was asked of a full checkpoint, which has no adapter to scale; "
            "use 0 (base) or 1 (tuned)",
        )
