"""Images a second of a sampling plan against diffusers' own pipeline loop, same steps and cfg."""

from __future__ import annotations

import tiny_models
import torch
from lora_forensics.core.backends.diffusers import DiffusersPair
from lora_forensics.core.sampling.guidance import cfg
from lora_forensics.core.sampling.plans import plan, sample_latents
from lora_forensics.core.specs import SampleSpec
from lora_forensics.core.types import BASE

from .timing import fastest

STEPS, SCALE, REPEATS = 20, 3.0, 3


def run() -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and rows of the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipe = tiny_models.tiny_pipeline().to(device)
    networks = tiny_models.networks().to(device, torch.float32)
    pair = DiffusersPair(networks, tuned_sha256="")
    rows = []
    for n in (1, 8, 32):
        jobs = plan(["a cat"], [cfg(SCALE, BASE)], n, 0)

        def ours(jobs=jobs, n=n):
            list(sample_latents(pair, jobs, SampleSpec(steps=STEPS, batch=n)))

        def theirs(n=n):
            pipe(["a cat"] * n, num_inference_steps=STEPS, guidance_scale=SCALE,
                 height=16, width=16, output_type="latent")  # fmt: skip

        a, b = n / fastest(theirs, REPEATS), n / fastest(ours, REPEATS)
        rows.append([str(n), f"{a:.2f}", f"{b:.2f}", f"{b / a:.2f}"])
    head = ["images per batch", "pipeline, images/s", "plan, images/s", "ratio"]
    return f"A sampling plan (tiny SD 1.x, {STEPS} steps, cfg {SCALE:g}, latents only)", head, rows
