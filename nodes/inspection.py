"""Inspection of an adapter file: no model, no sampling, seconds."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..core.casework.intake import recovered_prompts
from ..core.lora.formats import read_lora
from ..core.lora.inspection import inspect_lora
from ..core.report.words import inspection_words
from ._host import file_fingerprint, model_file, model_files
from ._schema import CATEGORY, outputs_of

INSPECTION = f"{CATEGORY}/inspection"


class InspectLora(io.ComfyNode):
    """What a file holds and claims."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsInspect",
            display_name="Inspect LoRA File",
            category=INSPECTION,
            description="Hashes, ranks, trigger words, claimed training data, and what does not "
            "fit together. Metadata is a claim: anyone can edit it.",
            inputs=[
                io.Combo.Input("lora_name", options=model_files("loras")),
            ],
            outputs=outputs_of(summary=io.String, prompts=io.String, sampling_allowed=io.Boolean),
            is_output_node=True,
        )

    @classmethod
    def execute(cls, lora_name) -> io.NodeOutput:
        """Read the file."""
        inspection = inspect_lora(read_lora(model_file("loras", lora_name)))
        summary, prompts = inspection_words(inspection), "\n".join(recovered_prompts(inspection))
        return io.NodeOutput(
            summary, prompts, inspection.sampling_allowed, ui=ui.PreviewText(summary)
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name) -> str:
        """The file's size and time."""
        return file_fingerprint(model_file("loras", lora_name))


NODES = [InspectLora]
