"""Nodes that make pictures with masks: random masks, RePaint, other generators' pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..core.casework.intake import stop_if_minor
from ..core.inpainting.diffusion import DiffusionInpainter
from ..core.inpainting.given import GivenInpainter
from ..core.inpainting.masks import KINDS, random_mask
from ..core.inpainting.shapes import padded, trimmed
from ..core.lora.safeguard import stop_words
from ..core.sampling.plans import seed_of
from ..core.specs import RepaintSpec
from ..core.types import ModelHashes
from . import _sockets as sockets
from ._examples import Examples, examples_of, masks_of
from ._host import HostProgress, check_name, to_image, to_pixels
from ._pair import HostPair
from ._schema import CATEGORY, accepted, inputs_of, outputs_of, spec_of
from ._suspect import native_resolution

LOCALIZATION = f"{CATEGORY}/localization"
FIELDS = ("steps", "jump_length", "resamples", "eta", "cfg", "mask_cells", "seed")


class RandomMasks(io.ComfyNode):
    """A mask for each image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsRandomMasks",
            display_name="Random Inpaint Masks",
            category=LOCALIZATION,
            description="One random mask per image: a rectangle of 5% to 40% of it, or brush "
            "strokes. White is what is repainted.",
            inputs=[
                io.Image.Input("images"),
                io.Combo.Input("kind", options=["mixed", *KINDS], default="mixed"),
                io.Int.Input("seed", default=0, min=0, max=2**31 - 1, control_after_generate=False),
            ],
            outputs=outputs_of(mask=io.Mask),
        )

    @classmethod
    def execute(cls, images, kind, seed) -> io.NodeOutput:
        """Draw them."""
        count, height, width = images.shape[:3]
        masks = [random_mask(height, width, kind, seed_of(seed, i) % 2**63) for i in range(count)]
        return io.NodeOutput(torch.stack([torch.from_numpy(m.copy()).float() for m in masks]))


class Repaint(io.ComfyNode):
    """RePaint by the graph's own model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsRepaint",
            display_name="RePaint",
            category=LOCALIZATION,
            description="Repaints what a mask marks by a model that never learnt inpainting, in "
            "three variants: originals pasted outside the mask, every pixel from the model, and "
            "nothing repainted but decoded.",
            inputs=[
                io.Model.Input("model", tooltip="With a LoRA on it or without."),
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                io.Image.Input("images"),
                io.Mask.Input("mask", tooltip="White is repainted; one, or one per image."),
                io.String.Input("prompt", default="", multiline=True),
                *inputs_of(RepaintSpec, FIELDS),
                io.String.Input(
                    "name", default="repaint", tooltip="Of the generator, in a localizer's card."
                ),
            ],
            outputs=outputs_of(
                spliced=io.Image,
                regenerated=io.Image,
                round_trip=io.Image,
                examples=sockets.Examples,
            ),
        )

    @classmethod
    def execute(cls, model, clip, vae, images, mask, prompt, name, **settings) -> io.NodeOutput:
        """Repaint every image."""
        stop_if_minor(stop_words([prompt, name]), flagged=False)
        check_name(name)
        pixels = to_pixels(images)
        marked = masks_of(mask, pixels)
        spec = replace(spec_of(RepaintSpec, settings), model="base")
        drawn, back = repainted(model, clip, vae, pixels, marked, prompt, spec)
        spliced = torch.where(marked[:, None] > 0, drawn, pixels)
        made = Examples(pixels, marked, GivenInpainter(name, pixels, drawn, back))
        return io.NodeOutput(to_image(spliced), to_image(drawn), to_image(back), made)

    @classmethod
    def validate_inputs(cls, name="repaint") -> bool | str:
        """A bad name is refused before anything runs."""
        return accepted(check_name, name)


def repainted(
    model: Any,
    clip: Any,
    vae: Any,
    pixels: Tensor,
    marked: Tensor,
    prompt: str,
    spec: RepaintSpec,
) -> tuple[Tensor, Tensor]:
    """Pictures from the model alone, and their round trips, both ``[N, 3, H, W]`` in 0..1.

    Pixels beyond the VAE's multiple are mirrored for the model and cut off again.
    """
    whole = padded(pixels, vae.spacial_compression_encode())
    holes = padded(marked[:, None], vae.spacial_compression_encode())
    with HostPair(
        model, clips=lambda strength: clip, vae=vae, hashes=ModelHashes("", ""),
        resolution=native_resolution(model),
    ) as pair:  # fmt: skip
        inpainter, progress = DiffusionInpainter(pair, prompt, spec), HostProgress()
        progress.start("repainting", len(pixels) * inpainter.cost)
        seeds = [seed_of(spec.seed, i) for i in range(len(pixels))]
        drawn = inpainter.inpaint(whole, holes, seeds, progress.step)
        back = inpainter.round_trip(whole)
    return trimmed(drawn, pixels), trimmed(back, pixels)


class ExamplesFromImages(io.ComfyNode):
    """Pictures that other nodes repainted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsExamplesFromImages",
            display_name="Inpainting Examples From Images",
            category=LOCALIZATION,
            description="Images, masks and what any other inpainting made of them, as examples "
            "that a localizer is trained on.",
            inputs=[
                io.Image.Input("images", tooltip="The originals."),
                io.Mask.Input("mask", tooltip="White was repainted; one, or one per image."),
                io.Image.Input("repainted", tooltip="In the order of the originals."),
                io.Image.Input(
                    "round_trip", optional=True,
                    tooltip="The originals through that model's VAE and back: teaches the network "
                    "that decoded is not repainted.",
                ),
                io.String.Input("name", default="other", tooltip="Of the generator."),
            ],
            outputs=outputs_of(examples=sockets.Examples),
        )  # fmt: skip

    @classmethod
    def execute(cls, images, mask, repainted, name, round_trip=None) -> io.NodeOutput:
        """Check and bind them."""
        check_name(name)
        return io.NodeOutput(examples_of(images, mask, repainted, round_trip, name))

    @classmethod
    def validate_inputs(cls, name="other") -> bool | str:
        """A bad name is refused before anything runs."""
        return accepted(check_name, name)


NODES = [RandomMasks, Repaint, ExamplesFromImages]
