"""Copy descriptors: one encoder a file; `load_encoder` finds one by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from ..protocols import ImageEncoder


def _tiny(models: Path | None) -> ImageEncoder:
    from .embedded import TinyEncoder

    return TinyEncoder()


def _sscd(models: Path | None) -> ImageEncoder:
    from .sscd import SscdEncoder

    return SscdEncoder.find(models)


ENCODERS: dict[str, Callable[[Path | None], ImageEncoder]] = {"tiny": _tiny, "sscd": _sscd}


def load_encoder(name: str, models: Path | None = None) -> ImageEncoder:
    """An encoder by name; ``auto`` takes SSCD where its weights are found, else the embedded one.

    Args:
        name: ``auto`` or a key of `ENCODERS`.
        models: folder with the weights that users bring.

    Raises:
        InputError: the name is unknown.
        MissingWeightsError: its weights are not there.
    """
    if name == "auto":
        from .sscd import SscdEncoder

        name = "sscd" if SscdEncoder.available(models) else "tiny"
    if name not in ENCODERS:
        raise InputError("BAD_SETTING", f"no encoder {name!r}; choose auto, {', '.join(ENCODERS)}")
    return ENCODERS[name](models)
