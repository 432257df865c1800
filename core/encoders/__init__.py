"""Descriptors: one encoder per file; `load_encoder` finds one by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..devices import torch_device
from ..errors import InputError
from ..protocols import ImageEncoder


def _tiny(models: Path | None) -> ImageEncoder:
    from .embedded import TinyEncoder

    return TinyEncoder()


def _sscd(models: Path | None) -> ImageEncoder:
    from .sscd import SscdEncoder

    return SscdEncoder.find(models)


def _clip(models: Path | None) -> ImageEncoder:
    from .clip import ClipEncoder

    return ClipEncoder.find(models)


Load = Callable[[Path | None], ImageEncoder]
ENCODERS: dict[str, Load] = {"tiny": _tiny, "sscd": _sscd}
"""Copy descriptors; nodes offer these."""
HEADLESS_ENCODERS: dict[str, Load] = {"clip": _clip}
"""Those that need a package of the ``headless`` extra; a graph has the host's own."""


def load_encoder(name: str, models: Path | None = None, *, device: str = "cpu") -> ImageEncoder:
    """An encoder by name; ``auto`` takes SSCD where its weights are found, else the embedded one.

    Args:
        name: ``auto``, or a key of `ENCODERS` or `HEADLESS_ENCODERS`.
        models: folder with the weights that users bring.
        device: where it runs.

    Raises:
        InputError: the name is unknown, or there is no such device.
        MissingWeightsError: its weights are not there.
        MissingDependencyError: its package is not installed.
    """
    if name == "auto":
        from .sscd import SscdEncoder

        name = "sscd" if SscdEncoder.available(models) else "tiny"
    known = {**ENCODERS, **HEADLESS_ENCODERS}
    if name not in known:
        raise InputError("BAD_SETTING", f"no encoder {name!r}; choose auto, {', '.join(known)}")
    encoder = known[name](models)
    encoder.network.to(torch_device(device))
    return encoder
