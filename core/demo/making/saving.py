"""Writes the demo's networks as they ship: half the bytes, and no place of this machine."""

from pathlib import Path
from typing import Any


def save_half(network: Any, folder: Path, **changes: Any) -> None:
    """Saves a diffusers network as fp16; the one that is trained stays as it is.

    Args:
        network: with a configuration, freed here of the folder that it was loaded from.
        folder: diffusers folder to write.
        changes: of the configuration.
    """
    config = {k: v for k, v in network.config.items() if k != "_name_or_path"}
    copy = type(network).from_config(config)
    copy.register_to_config(**changes)
    copy.load_state_dict(network.state_dict())
    copy.half().save_pretrained(folder)
