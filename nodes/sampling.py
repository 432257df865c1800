"""Nodes that sample: a guider for the host's samplers, and a plan of many guidance scales."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.casework.exhibits import grid
from ..core.sampling.generation import generate
from ..core.sampling.guidance import Guidance, cfg, model_guidance
from ..core.sampling.plans import plan
from ..core.specs import SampleSpec
from ..core.storage import Work
from ..core.types import BASE, TUNED, ImageBatch
from . import _sockets as sockets
from ._host import HostProgress, to_image, work_folder
from ._schema import (
    CATEGORY,
    accepted,
    inputs_of,
    numbers,
    outputs_of,
    prompts_input,
    resolution_input,
    spec_of,
)

SAMPLING = f"{CATEGORY}/sampling"
ARMS = ("tuned", "base", "model guidance")


class ModelGuidance(io.ComfyNode):
    """FineXtract's guidance as a GUIDER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsModelGuider",
            display_name="Model Guidance (FineXtract)",
            category=SAMPLING,
            description="Pulls samples from the base towards what the suspect learnt. Connect to "
            "SamplerCustomAdvanced. Encode the tuned prompt with the suspect's tuned_clip and the "
            "base prompt, usually empty, with the base CLIP.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Conditioning.Input("tuned_conditioning", tooltip="Caption, by the tuned CLIP."),
                io.Conditioning.Input(
                    "base_conditioning", tooltip="Empty prompt, by the base CLIP."
                ),
                io.Float.Input(
                    "weight", default=2.0, min=0.0, max=50.0, step=0.05,
                    tooltip="w': 0 is the base, 1 the suspect, above 1 goes beyond it. The paper "
                    "uses 3 to 5 for SD 1.4; small models overshoot there.",
                ),
                io.Float.Input(
                    "correction", default=0.0, min=-1.0, max=1.0, step=0.01,
                    tooltip="k of the paper, slightly negative for DreamBooth checkpoints.",
                ),
            ],
            outputs=outputs_of(guider=io.Guider),
        )  # fmt: skip

    @classmethod
    def execute(
        cls, suspect, tuned_conditioning, base_conditioning, weight, correction
    ) -> io.NodeOutput:
        """Make the guider; nothing is sampled here."""
        from ._guiders import guider_of

        suspect.stop_if_minor()
        guider = guider_of(suspect)
        guider.set_conds(tuned_conditioning, base_conditioning)
        guider.set_rule(weight, correction)
        return io.NodeOutput(guider)


class MultiCfgSampler(io.ComfyNode):
    """Every noise under every guidance scale."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsMultiCfgSampler",
            display_name="Multi-CFG Sampler",
            category=SAMPLING,
            description="Draws each noise at each scale, prompts in turn, with the same noise for "
            "all scales. 0 is truly unconditional, 1 conditional only. Images are kept, so that "
            "an interrupted run resumes and a repeated one costs nothing.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                prompts_input(),
                io.Combo.Input("arm", options=list(ARMS), default="tuned"),
                io.String.Input("scales", default="1, 3, 7", tooltip="Numbers with commas."),
                io.Int.Input(
                    "images", default=16, min=1, max=100_000, tooltip="Noises; each at each scale."
                ),
                *inputs_of(SampleSpec, ("sampler", "steps", "batch", "seed")),
                resolution_input(),
            ],
            outputs=[
                sockets.Generated.Output("generated", display_name="generated"),
                io.Image.Output("images_out", display_name="images"),
                io.Image.Output("sheet", display_name="sheet"),
                io.String.Output("table", display_name="table"),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, suspect, vae, prompts, arm, scales, images, resolution, **settings
    ) -> io.NodeOutput:
        """Sample the plan."""
        spec, chosen = spec_of(SampleSpec, settings), suspect.prompts(prompts)
        rules = [rule_of(arm, scale) for scale in numbers("scales", scales)]
        jobs = plan(chosen, rules, images, spec.seed)
        drawn = draw(suspect, vae, resolution, chosen, jobs, spec)
        sheet = to_image(grid(drawn.pixels, images if images <= 12 else 8)[None])
        return io.NodeOutput(drawn, to_image(drawn.pixels), sheet, provenance(drawn))

    @classmethod
    def validate_inputs(cls, scales="1") -> bool | str:
        """Scales that are no numbers are refused before anything runs."""
        return accepted(numbers, "scales", scales)


def rule_of(arm: str, scale: float) -> Guidance:
    """The guidance rule of an arm at a scale."""
    return model_guidance(scale) if arm == ARMS[2] else cfg(scale, BASE if arm == "base" else TUNED)


def draw(suspect, vae, resolution, prompts, jobs, spec) -> ImageBatch:
    """Run a plan on a suspect; finished images are kept in the work folder."""
    with suspect.pair(vae, resolution, prompts) as pair:
        facts = {"models": pair.describe(), "strength": suspect.strength}
        with work_folder({"kind": "images", **facts, "solver": [spec.sampler, spec.steps]}) as case:
            return generate(pair, jobs, spec, work=Work(case, HostProgress()))


def provenance(images: ImageBatch) -> str:
    """Guidance, seed, prompt and pixel hash of each image, tab-separated."""
    rows = [f"{s.guidance}\t{s.seed}\t{s.prompt}\t{s.sha256}" for s in images.sources]
    return "\n".join(["guidance\tseed\tprompt\tsha256", *rows])


NODES = [ModelGuidance, MultiCfgSampler]
