"""The small Patches model that comes with the tool."""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingWeightsError
from .files import Localizer, load_localizer

ASSETS = Path(__file__).parent / "assets"
NAME = "patches_tiny"


def shipped_path() -> Path:
    """Its file.

    Raises:
        MissingWeightsError: the installation lacks it (MISSING_WEIGHTS).
    """
    path = ASSETS / f"{NAME}.safetensors"
    if not path.is_file():
        raise MissingWeightsError(
            "MISSING_WEIGHTS", f"{path.name} is missing from the installation; install it again"
        )
    return path


def load_shipped(device: str = "cpu") -> Localizer:
    """The shipped localizer."""
    return load_localizer(shipped_path(), device)
