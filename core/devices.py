"""Which device a name means, checked before anything is loaded."""

from __future__ import annotations

import torch
from torch import nn

from .errors import InputError

_ABSENT = (RuntimeError, AssertionError, ImportError)


def torch_device(name: str) -> torch.device:
    """The device of a name, if this machine has it.

    Args:
        name: ``auto`` (CUDA if there), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        InputError: the name means no device (BAD_SETTING), or one that is not here (NO_DEVICE).

    Example:
        >>> torch_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _unknown(name) from error
    if device.type == "meta":
        raise _unknown(name)
    try:
        torch.empty(1, device=device)
    except _ABSENT as error:
        raise InputError(
            "NO_DEVICE", f"{name} was asked and there is none here; use --device cpu"
        ) from error
    return device


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next(network.parameters()).device


def _unknown(name: str) -> InputError:
    return InputError("BAD_SETTING", f"device {name!r} is unknown; try cpu or cuda")
