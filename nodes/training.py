"""LoRAs trained in a graph: targets, placebos, and counterfactual null models of a suspect."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.errors import plural
from ..core.specs import FinetuneSpec
from . import _sockets as sockets
from ._host import drawn
from ._retraining import FOLDER, counterfactuals_of, lora_file, photo_captions, train_lora
from ._schema import (
    CATEGORY,
    accepted,
    inputs_of,
    outputs_of,
    prompts_input,
    resolution_input,
    spec_of,
)
from ._suspect import native_resolution

TRAINING = f"{CATEGORY}/training"
FIELDS = (
    "layers", "rank", "alpha", "steps", "batch", "learning_rate", "warmup", "decay", "flip",
    "caption_dropout", "save_every", "seed",
)  # fmt: skip


class TrainLora(io.ComfyNode):
    """A LoRA on the graph's own base."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsTrainLora",
            display_name="Train LoRA",
            category=TRAINING,
            description="Trains a LoRA on the connected base: a target whose photos are known, or "
            "a placebo on other photos. The file can be picked as suspect.",
            inputs=[
                io.Model.Input("model"),
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                sockets.Photos.Input("photos"),
                io.String.Input(
                    "caption",
                    default="",
                    multiline=True,
                    tooltip="One for all photos, or one per line in the order of the photos.",
                ),
                *inputs_of(FinetuneSpec, FIELDS),
                resolution_input(),
                io.String.Input(
                    "name",
                    default="lora",
                    tooltip="Letters, digits, - and _; with a folder before it, such as "
                    "placebos/one, for Load Placebo LoRAs.",
                ),
            ],
            outputs=outputs_of(lora_name=io.String, plot=io.Image, summary=io.String),
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, model, clip, vae, photos, caption, resolution, name, **settings
    ) -> io.NodeOutput:
        """Train, save one file."""
        from ..core.report.loss_plot import losses_png

        spec, path = spec_of(FinetuneSpec, settings), lora_file(name)
        captions = photo_captions(caption, photos, name)
        side = resolution or native_resolution(model)
        trained, summary = train_lora(
            model, clip, vae, photos, captions, spec, resolution=side, path=path
        )
        plot = drawn(losses_png(trained.losses))
        return io.NodeOutput(f"{name}.safetensors", plot, summary, ui={"text": [summary]})

    @classmethod
    def validate_inputs(cls, name="lora") -> bool | str:
        """A bad name is refused before anything runs."""
        return accepted(lora_file, name)


class TrainCounterfactuals(io.ComfyNode):
    """The suspect's recipe repeated on controls."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsCounterfactuals",
            display_name="Train Counterfactual LoRAs",
            category=TRAINING,
            description="Null models: LoRAs trained on half of the controls with the recipe that "
            "the suspect's file states. 19 allow p = 0.05, 99 allow p = 0.01.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                sockets.Photos.Input("controls"),
                prompts_input(),
                io.Int.Input(
                    "count", default=19, min=1, max=999, tooltip="LoRAs to train: the cost."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    control_after_generate=False,
                    tooltip="Of the split of controls, their choice, and training.",
                ),
                resolution_input(),
            ],
            outputs=outputs_of(nulls=sockets.Nulls, summary=io.String),
        )

    @classmethod
    def execute(cls, suspect, vae, controls, prompts, count, seed, resolution) -> io.NodeOutput:
        """Train what is not there yet."""
        caption = suspect.prompts(prompts)[0]
        suspect.stop_if_minor([caption, *controls.names])
        nulls = counterfactuals_of(
            suspect, vae, controls, caption, count, seed=seed, resolution=resolution
        )
        summary = (
            f"{plural(count, 'counterfactual')}: the smallest possible p is {1 / (count + 1):.2g}\n"
            f"{nulls.trained.note}; caption {caption!r}"
        )
        return io.NodeOutput(nulls, summary)


__all__ = ["FOLDER", "NODES"]
NODES = [TrainLora, TrainCounterfactuals]
