"""Nodes that bring things in: the suspect, photos and controls, the copy descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from comfy_api.latest import io

from ..core.casework.photo_sets import PhotoSet
from ..core.encoders import ENCODERS, load_encoder
from ..core.encoders.sscd import SscdEncoder
from ..core.errors import InputError
from ..core.images.photos import image_files
from . import _sockets as sockets
from ._failures import reported
from ._host import (
    compute_device,
    file_fingerprint,
    fingerprint,
    input_folder,
    input_folders,
    input_root,
    model_file,
    model_files,
    to_pixels,
)
from ._schema import CATEGORY, accepted, outputs_of
from ._suspect import suspect_from_file, suspect_from_models

LOADING = f"{CATEGORY}/loading"
NO_FOLDER = "(no folder of images in ComfyUI's input folder)"


class LoadSuspect(io.ComfyNode):
    """A LoRA file on the graph's MODEL and CLIP."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsLoadSuspect",
            display_name="Load Suspect LoRA",
            category=LOADING,
            description="Puts a LoRA on the base it is compared with. Connect the base MODEL and "
            "CLIP without that LoRA. The file is checked before anything is read from it.",
            inputs=[
                io.Model.Input("model", tooltip="The base model, without the suspect LoRA."),
                io.Combo.Input(
                    "lora_name",
                    options=model_files("loras"),
                    tooltip="A .safetensors file of the loras folder.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=-4.0, max=4.0, step=0.05,
                    tooltip="Adapter strength; 1 is the LoRA as trained.",
                ),
                io.Clip.Input(
                    "clip", optional=True,
                    tooltip="The base text encoder. Only the guider works without it.",
                ),
            ],
            outputs=outputs_of(
                suspect=sockets.Suspect, tuned_model=io.Model, tuned_clip=io.Clip,
                prompts=io.String, summary=io.String,
            ),
        )  # fmt: skip

    @classmethod
    def execute(cls, model, lora_name, strength, clip=None) -> io.NodeOutput:
        """Read, check and apply the file."""
        path = model_file("loras", lora_name)
        with reported(path):
            suspect = suspect_from_file(path, model, clip, strength, name=path.name)
        prompts = "\n".join(suspect.prompts())
        summary = suspect.summary()
        return io.NodeOutput(suspect, suspect.tuned, suspect.tuned_clip, prompts, summary)

    @classmethod
    def fingerprint_inputs(cls, lora_name, **_) -> str:
        """The file's size and time, so that a new file of the same name is read again."""
        return file_fingerprint(model_file("loras", lora_name))


class SuspectFromModels(io.ComfyNode):
    """Two MODELs as base and tuned."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsSuspectFromModels",
            display_name="Suspect From Two Models",
            category=LOADING,
            description="A DreamBooth checkpoint beside its base, or a MODEL behind any chain of "
            "LoRA loaders beside the MODEL in front of it.",
            inputs=[
                io.Model.Input("base_model"),
                io.Model.Input("tuned_model"),
                io.String.Input("name", default="suspect", tooltip="Shown in the report."),
                io.Clip.Input("base_clip", optional=True),
                io.Clip.Input("tuned_clip", optional=True),
            ],
            outputs=outputs_of(suspect=sockets.Suspect, summary=io.String),
        )

    @classmethod
    def execute(
        cls, base_model, tuned_model, name, base_clip=None, tuned_clip=None
    ) -> io.NodeOutput:
        """Compare the two and find what changed."""
        suspect = suspect_from_models(base_model, base_clip, tuned_model, tuned_clip, name)
        return io.NodeOutput(suspect, suspect.summary())


class LoadDescriptor(io.ComfyNode):
    """The network that says how alike two pictures are."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsLoadDescriptor",
            display_name="Load Copy Descriptor",
            category=LOADING,
            description="auto takes SSCD when its weights lie in models/sscd, else the small "
            "embedded descriptor, whose thresholds hold for drawn faces only.",
            inputs=[io.Combo.Input("name", options=["auto", *ENCODERS], default="auto")],
            outputs=outputs_of(descriptor=sockets.Descriptor, summary=io.String),
        )

    @classmethod
    def execute(cls, name) -> io.NodeOutput:
        """Find and load the weights."""
        encoder = load_encoder(name, _sscd_folder(), device=compute_device())
        facts = encoder.id
        return io.NodeOutput(encoder, f"{facts.name}\nSHA-256 {facts.sha256}\n{facts.note}")


def _sscd_folder() -> Path:
    """The registered folder that holds SSCD's weights, or the first, where they belong."""
    import folder_paths

    folders = [Path(place) for place in folder_paths.get_folder_paths("sscd")]
    return next((f for f in folders if SscdEncoder.available(f)), folders[0])


class PhotoFolder(io.ComfyNode):
    """A folder of ComfyUI's input folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsPhotoFolder",
            display_name="Photos From Folder",
            category=LOADING,
            description="Photos in question, or controls: photos of the same source that were "
            "certainly not used. Files are read with orientation, profile and hash; a sub-folder "
            "is one session of photos taken together.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=input_folders() or [NO_FOLDER],
                    tooltip="A folder below ComfyUI's input folder.",
                )
            ],
            outputs=outputs_of(photos=sockets.Photos, count=io.Int),
        )

    @classmethod
    def execute(cls, folder) -> io.NodeOutput:
        """List the files; they are decoded where their size is known."""
        photos = PhotoSet(tuple(_listed(folder)), root=input_folder(folder), origin=input_root())
        return io.NodeOutput(photos, len(photos))

    @classmethod
    def fingerprint_inputs(cls, folder) -> str:
        """What the folder holds now."""
        return fingerprint(input_folder(folder))

    @classmethod
    def validate_inputs(cls, folder="") -> bool | str:
        """A folder made after the page was loaded is accepted too."""
        return accepted(_listed, folder)


def _listed(folder: str) -> list[Path]:
    return image_files(input_folder(folder))


def photos_from(images: Sequence[torch.Tensor]) -> PhotoSet:
    """Photos from IMAGE batches.

    Raises:
        InputError: BAD_SHAPE for an empty batch.
    """
    if not images or any(not len(batch) for batch in images):
        raise InputError("BAD_SHAPE", "an IMAGE batch is empty; connect at least one image")
    return PhotoSet(pixels=tuple(map(to_pixels, images)))


class PhotosFromImages(io.ComfyNode):
    """An IMAGE batch as photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsPhotosFromImages",
            display_name="Photos From Images",
            category=LOADING,
            description="Photos or controls that the graph already holds as IMAGE. A folder is "
            "better: it keeps each file's hash, and photos of several sizes.",
            is_input_list=True,
            inputs=[io.Image.Input("images")],
            outputs=outputs_of(photos=sockets.Photos, count=io.Int),
        )

    @classmethod
    def execute(cls, images) -> io.NodeOutput:
        """Wrap them."""
        photos = photos_from(images)
        return io.NodeOutput(photos, len(photos))


NODES = [LoadSuspect, SuspectFromModels, LoadDescriptor, PhotoFolder, PhotosFromImages]
