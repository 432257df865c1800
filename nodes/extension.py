"""Which nodes there are. A node's id and inputs are permanent: saved workflows hold them."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import ComfyExtension, io

from . import (
    attack,
    baselines,
    decoys,
    extraction,
    inspection,
    loaders,
    membership,
    photos,
    report,
    sampling,
    similarity,
)

MODULES = (
    loaders, photos, inspection, sampling, extraction, similarity, membership, attack, baselines,
    decoys, report,
)  # fmt: skip
WEIGHTS = {".safetensors"}


def register_folders() -> None:
    """Model folders of the pack, beside checkpoints and loras."""
    models = Path(folder_paths.models_dir)
    trained = Path(folder_paths.get_output_directory()) / "lora_forensics" / "attack_models"
    known = {
        "sscd": [models / "sscd"],
        photos.BLIP_FOLDER: [models / photos.BLIP_FOLDER],
        attack.FOLDER: [models / attack.FOLDER, trained],
    }
    for name, folders in known.items():
        if name not in folder_paths.folder_names_and_paths:
            folder_paths.folder_names_and_paths[name] = ([str(f) for f in folders], WEIGHTS)


class LoraForensics(ComfyExtension):
    """The pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        register_folders()
        return [node for module in MODULES for node in module.NODES]
