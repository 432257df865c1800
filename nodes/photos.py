"""Nodes on photos before anyone asks about them: canonical form, captions, watermarks."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy_api.latest import io

from ..core.casework.intake import stop_if_minor
from ..core.casework.photo_sets import PhotoSet, stop_for_names
from ..core.errors import InputError
from ..core.images.canonical import DECODED, canonical
from ..core.images.captions import caption
from ..core.images.watermark import KINDS
from ..core.lora.safeguard import stop_words
from ..core.specs import CanonicalSpec
from . import _sockets as sockets
from ._host import HostProgress, compute_device, inside, logo_of, to_image, to_pixels
from ._schema import CATEGORY, accepted, inputs_of, outputs_of, resolution_input, spec_of

PHOTOS = f"{CATEGORY}/photos"
BLIP_FOLDER = "blip"
"""The model folder, beside checkpoints and loras; each sub-folder is one model."""
NO_BLIP = "(no folder in models/blip)"
CAPTION_SIDE = 512


class Canonical(io.ComfyNode):
    """Photos and controls through the same processing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsCanonical",
            display_name="Canonical Photos",
            category=PHOTOS,
            description="Passes photos and controls alike through the model's codec or one JPEG "
            "compression, so that their files' histories do not tell them apart.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                *inputs_of(CanonicalSpec, ("codec", "jpeg")),
                resolution_input(),
            ],
            outputs=[
                sockets.Photos.Output("photos_out", display_name="photos"),
                sockets.Photos.Output("controls_out", display_name="controls"),
                io.String.Output("summary", display_name="summary"),
            ],
        )

    @classmethod
    def execute(cls, suspect, vae, photos, controls, resolution, **settings) -> io.NodeOutput:
        """Process both sets with one setting."""
        spec, progress = spec_of(CanonicalSpec, settings), HostProgress()
        stop_for_names(photos, controls)
        with suspect.pair(vae, resolution) as pair:
            mine = photos.at(pair.resolution, "photo", progress)
            others = controls.at(pair.resolution, "control", progress)
            made, log = canonical(pair, mine, spec, progress=progress)
            more, _ = canonical(pair, others, spec, progress=progress)
        steps = (*photos.steps(pair.resolution), *log[len(DECODED) :])
        sets = (PhotoSet(ready=made, done=steps), PhotoSet(ready=more, done=steps))
        return io.NodeOutput(*sets, "\n".join(steps))


class CaptionPhotos(io.ComfyNode):
    """BLIP's caption of each photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsCaption",
            display_name="Caption Photos",
            category=PHOTOS,
            description="One caption a photo by BLIP, whose files you put into a folder of "
            "models/blip. Nothing is downloaded.",
            inputs=[
                sockets.Photos.Input("photos"),
                io.Combo.Input(
                    "folder",
                    options=blip_folders() or [NO_BLIP],
                    tooltip="A folder of models/blip with weights, configs and tokenizer.",
                ),
                io.String.Input(
                    "prefix", default="", tooltip="Beginning of every caption; may be empty."
                ),
            ],
            outputs=outputs_of(prompts=io.String, table=io.String),
        )

    @classmethod
    def execute(cls, photos, folder, prefix) -> io.NodeOutput:
        """Describe every photo, in the order of the files."""
        progress = HostProgress()
        stop_if_minor(stop_words([prefix, *photos.names]), flagged=False)
        given = photos.at(CAPTION_SIDE, "photo", progress)
        texts = caption(
            list(given.images.pixels), blip_folder(folder), prefix=prefix,
            device=compute_device(), progress=progress,
        )  # fmt: skip
        stop_if_minor(stop_words(texts), flagged=False)
        rows = [f"{s.name}\t{t}" for s, t in zip(given.images.sources, texts, strict=True)]
        return io.NodeOutput("\n".join(texts), "\n".join(["photo\tcaption", *rows]))

    @classmethod
    def validate_inputs(cls, folder="") -> bool | str:
        """A folder made after the page was loaded is accepted too."""
        return accepted(blip_folder, folder)


class Watermark(io.ComfyNode):
    """The membership paper's watermarks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsWatermark",
            display_name="Watermark Images",
            category=PHOTOS,
            description="Lays a logo on images as the membership paper does: small and visible in "
            "a corner, or large and faint (at most two grey levels).",
            inputs=[
                io.Image.Input("images"),
                io.Combo.Input("kind", options=list(KINDS), default="visible"),
                io.Image.Input("logo", optional=True, tooltip="Unconnected: a drawn shield."),
                io.Mask.Input(
                    "mask", optional=True,
                    tooltip="Of Load Image: where the logo is transparent. Unconnected: opaque.",
                ),
            ],
            outputs=[io.Image.Output("images_out", display_name="images")],
        )  # fmt: skip

    @classmethod
    def execute(cls, images, kind, logo=None, mask=None) -> io.NodeOutput:
        """Lay it on every image."""
        mark = logo_of(logo, mask)
        laid = [KINDS[kind](pixels.clamp(0, 1), mark) for pixels in to_pixels(images)]
        return io.NodeOutput(to_image(torch.stack(laid)))


class PhotosToImages(io.ComfyNode):
    """Photos as pixels for other nodes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsPhotosToImages",
            display_name="Photos To Images",
            category=PHOTOS,
            description="A folder's photos as one IMAGE batch: decoded canonically, cut to squares "
            "of one size.",
            inputs=[
                sockets.Photos.Input("photos"),
                io.Int.Input(
                    "resolution", default=512, min=16, max=4096, tooltip="Image side in pixels."
                ),
            ],
            outputs=outputs_of(images=io.Image, names=io.String),
        )

    @classmethod
    def execute(cls, photos, resolution) -> io.NodeOutput:
        """Read them."""
        given = photos.at(resolution, "photo", HostProgress())
        names = "\n".join(s.name for s in given.images.sources)
        return io.NodeOutput(to_image(given.images.pixels), names)


def blip_folders() -> list[str]:
    """Sub-folders of the BLIP folders."""
    places = [p for root in _blip_roots() if root.is_dir() for p in root.iterdir()]
    return sorted({p.name for p in places if p.is_dir() and not p.name.startswith(".")})


def blip_folder(name: str) -> Path:
    """One of `blip_folders` as a path.

    Raises:
        InputError: MISSING_FOLDER, OUTSIDE_FOLDER.
    """
    folders = [place for root in _blip_roots() if (place := inside(root, name)).is_dir()]
    if not folders:
        raise InputError(
            "MISSING_FOLDER",
            f"there is no folder {name!r} in models/blip; put BLIP's files into one",
        )
    return folders[0]


def _blip_roots() -> list[Path]:
    import folder_paths

    return [Path(place) for place in folder_paths.get_folder_paths(BLIP_FOLDER)]


NODES = [Canonical, CaptionPhotos, Watermark, PhotosToImages]
