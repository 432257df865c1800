"""Inspection of an adapter file: no model, no sampling, seconds."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..core.casework.intake import recovered_prompts
from ..core.lora.formats import read_lora
from ..core.lora.inspection import inspect_lora
from ..core.report.words import inspection_words
from ._host import lora_fingerprint, lora_path
from ._schema import CATEGORY

INSPECTION = f"{CATEGORY}/inspection"


class InspectLora(io.ComfyNode):
    """What a file holds and claims."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        import folder_paths

        return io.Schema(
            node_id="LoraForensicsInspect",
            display_name="Inspect LoRA File",
            category=INSPECTION,
            description="Hashes, ranks, trigger words, claimed training data, and what does not "
            "fit together. Metadata is a claim: anyone can edit it.",
            inputs=[
                io.Combo.Input("lora_name", options=folder_paths.get_filename_list("loras")),
            ],
            outputs=[
                io.String.Output("summary", display_name="summary"),
                io.String.Output("prompts", display_name="prompts"),
                io.Boolean.Output("sampling_allowed", display_name="sampling_allowed"),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, lora_name) -> io.NodeOutput:
        """Read the file."""
        inspection = inspect_lora(read_lora(lora_path(lora_name)))
        summary, prompts = inspection_words(inspection), "\n".join(recovered_prompts(inspection))
        return io.NodeOutput(
            summary, prompts, inspection.sampling_allowed, ui=ui.PreviewText(summary)
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name) -> str:
        """The file's size and time."""
        return lora_fingerprint(lora_name)


NODES = [InspectLora]
