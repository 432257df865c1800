"""Prompts in ComfyUI's API format."""

from __future__ import annotations

from typing import Any

Node = dict[str, Any]


def node(class_type: str, **inputs: Any) -> Node:
    """One node; a link is ``["id of the other", output index]``."""
    return {"class_type": class_type, "inputs": inputs}


def text_to_image(
    checkpoint: str,
    *,
    lora: str | None = None,
    text_encoder: str | None = None,
    text: str = "a northgate headshot",
    seed: int = 1,
    steps: int = 2,
    cfg: float = 3.0,
    size: int = 64,
    batch: int = 1,
) -> dict[str, Node]:
    """Checkpoint (1), LoRA (2), prompts (3, 4), latent (5), KSampler (6), decode (7), save (8).

    With ``text_encoder``, a CLIPLoader (9) reads the text for an SD3 checkpoint.
    """
    source = "1" if lora is None else "2"
    own_text = ["1", 1] if text_encoder is None else ["9", 0]
    clip = own_text if lora is None else ["2", 1]
    latent = "EmptyLatentImage" if text_encoder is None else "EmptySD3LatentImage"
    prompt = {
        "1": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "3": node("CLIPTextEncode", clip=clip, text=text),
        "4": node("CLIPTextEncode", clip=clip, text=""),
        "5": node(latent, width=size, height=size, batch_size=batch),
        "6": node(
            "KSampler",
            model=[source, 0],
            positive=["3", 0],
            negative=["4", 0],
            latent_image=["5", 0],
            seed=seed,
            steps=steps,
            cfg=cfg,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "7": node("VAEDecode", samples=["6", 0], vae=["1", 2]),
        "8": node("SaveImage", images=["7", 0], filename_prefix="host/plain"),
    }
    if lora is not None:
        strengths = {"strength_model": 1.0, "strength_clip": 1.0}
        prompt["2"] = node("LoraLoader", model=["1", 0], clip=own_text, lora_name=lora, **strengths)
    if text_encoder is not None:
        prompt["9"] = node("CLIPLoader", clip_name=text_encoder, type="sd3")
    return prompt
