"""White-box membership on the graph's own models, and its trained null models."""

from __future__ import annotations

from dataclasses import asdict

import torch
from comfy_api.latest import io

from ..core.casework.exhibits import heat_pictures
from ..core.casework.lines import LineEvidence
from ..core.casework.photo_sets import compared_sets
from ..core.errors import plural
from ..core.membership.line import screen_membership
from ..core.report.words import membership_words, score_table
from ..core.specs import MembershipSpec, ScreenSpec
from ..core.storage import Work
from . import _sockets as sockets
from ._host import HostProgress, drawn, to_image, work_folder
from ._nulls import folder_files, folder_fingerprint, lora_folders, null_groups, placebos_of
from ._schema import (
    CATEGORY,
    accepted,
    inputs_of,
    outputs_of,
    prompts_input,
    resolution_input,
    spec_of,
)
from ._suspect import prompts_from

MEMBERSHIP = f"{CATEGORY}/membership"
NO_FOLDER = "(no folder of LoRAs in the loras folder)"


class WhiteBox(io.ComfyNode):
    """Does the suspect predict the photos better than its base does, more than it does controls?"""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        names = ("timesteps", "noises", "nulls", "permutations", "batch", "seed")
        return io.Schema(
            node_id="LoraForensicsWhiteBox",
            display_name="White-box Membership",
            category=MEMBERSHIP,
            description="Denoising losses of base and suspect on the same noise, photo by photo, "
            "compared with controls. The primary line: the verdict rests on it.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                prompts_input(),
                *inputs_of(MembershipSpec, names),
                resolution_input(),
                *inputs_of(MembershipSpec, ("signals", "null_noises"), optional=True),
                *nulls_inputs(),
                sockets.Descriptor.Input(
                    "descriptor", optional=True, tooltip="For the signals of deep that need one."
                ),
            ],
            outputs=outputs_of(
                evidence=sockets.Evidence,
                plot=io.Image,
                table=io.String,
                summary=io.String,
                heat=io.Image,
            ),
        )

    @classmethod
    def execute(
        cls, suspect, vae, photos, controls, prompts, resolution, placebos=None,
        counterfactuals=None, descriptor=None, **settings,
    ) -> io.NodeOutput:  # fmt: skip
        """Measure and compare."""
        spec, chosen = spec_of(MembershipSpec, settings), suspect.prompts(prompts)
        with suspect.pair(vae, resolution, chosen) as pair:
            sets, _ = compared_sets(photos, controls, pair.resolution, HostProgress())
            nulls = null_groups(suspect, vae, resolution, sets.controls, placebos, counterfactuals)
            question, models = suspect.question(sets), pair.describe()
            facts = {"kind": "membership", "question": question, "prompt": chosen[0]}
            encoder = None if descriptor is None else asdict(descriptor.id)
            facts |= {"settings": asdict(spec), "models": models, "descriptor": encoder}
            with work_folder(facts) as case:
                result = screen_membership(
                    pair, sets, chosen, ScreenSpec(membership=spec), nulls=nulls,
                    embed=descriptor, work=Work(case, HostProgress()),
                )  # fmt: skip
        said = {
            "settings": {"membership": asdict(spec)}, "models": models, "prompts": chosen,
            "prompts_from": prompts_from(prompts),
        }  # fmt: skip
        heat = heat_pictures(sets, result.heat)
        evidence = LineEvidence("membership", result.evidence, question, said, heat)
        return io.NodeOutput(evidence, *_shown(result.evidence, sets.photos), _stacked(heat))

    @classmethod
    def validate_inputs(cls, timesteps="500") -> bool | str:
        """Timesteps that cannot be used are refused before anything runs."""
        return accepted(spec_of, MembershipSpec, {"timesteps": timesteps})


def nulls_inputs() -> list:
    """Null models that were trained, of both kinds."""
    kinds = {
        "placebos": "LoRAs trained on other photos, from Load Placebo LoRAs.",
        "counterfactuals": "LoRAs trained on half of these controls.",
    }
    return [sockets.Nulls.Input(k, optional=True, tooltip=text) for k, text in kinds.items()]


def _shown(found, photos):
    """Plot, table and summary."""
    from ..core.report.score_plot import scores_png

    c = found.comparison
    png = scores_png(c.photo_scores, c.control_scores, axis="log loss ratio, base/tuned")
    table = score_table(c, [s.name for s in photos.images.sources])
    return drawn(png), table, membership_words(found)


def _stacked(pictures):
    return to_image(torch.stack(list(pictures.values())))


class LoadPlacebos(io.ComfyNode):
    """LoRAs of one folder as null models."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsPlacebos",
            display_name="Load Placebo LoRAs",
            category=MEMBERSHIP,
            description="LoRAs of the same base that were certainly not trained on the photos: "
            "null models that can carry verdict B. 19 allow p = 0.05, 99 allow p = 0.01.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Combo.Input(
                    "folder",
                    options=lora_folders() or [NO_FOLDER],
                    tooltip="A sub-folder of the loras folder with the placebos and nothing else.",
                ),
            ],
            outputs=outputs_of(placebos=sockets.Nulls, count=io.Int, summary=io.String),
        )

    @classmethod
    def execute(cls, suspect, folder) -> io.NodeOutput:
        """Hash the files; each is read when it is measured."""
        placebos = placebos_of(suspect, folder_files(folder))
        rows = [f"{f.name}\t{h}" for f, h in zip(placebos.files, placebos.hashes, strict=True)]
        count = len(placebos.files)
        head = f"{plural(count, 'placebo')}: the smallest possible p is {1 / (count + 1):.2g}"
        return io.NodeOutput(placebos, count, "\n".join([head, "file\tsha256", *rows]))

    @classmethod
    def fingerprint_inputs(cls, folder, **_) -> str:
        """What the folder holds now."""
        return folder_fingerprint(folder)

    @classmethod
    def validate_inputs(cls, folder="") -> bool | str:
        """A folder made after the page was loaded is accepted too."""
        return accepted(folder_files, folder)


NODES = [WhiteBox, LoadPlacebos]
