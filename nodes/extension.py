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
    inpainting,
    inspection,
    loaders,
    localization,
    membership,
    photos,
    report,
    sampling,
    similarity,
    training,
)

MODULES = (
    loaders, photos, inspection, sampling, extraction, similarity, membership, attack, baselines,
    training, decoys, inpainting, localization, report,
)  # fmt: skip
WEIGHTS = {".safetensors"}


def register_folders() -> None:
    """Model folders of the pack, beside checkpoints and loras."""
    models = Path(folder_paths.models_dir)
    output = Path(folder_paths.get_output_directory()) / "lora_forensics"
    known = {
        "sscd": [models / "sscd"],
        photos.BLIP_FOLDER: [models / photos.BLIP_FOLDER],
        localization.FOLDER: [models / "localizers", output / "localizers"],
        localization.CLASSIFIERS: [models / localization.CLASSIFIERS],
        attack.FOLDER: [models / attack.FOLDER, output / "attack_models"],
    }
    for name, folders in known.items():
        held = folder_paths.folder_names_and_paths.get(name, ([str(f) for f in folders], WEIGHTS))
        # ComfyUI has a folder of classifiers and lists no file there; no extension would list all.
        folder_paths.folder_names_and_paths[name] = (held[0], held[1] and {*held[1], *WEIGHTS})
    folder_paths.add_model_folder_path("loras", str(output / training.FOLDER))


class LoraForensics(ComfyExtension):
    """The pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        register_folders()
        return [node for module in MODULES for node in module.NODES]
