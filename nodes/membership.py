"""White-box membership on the graph's own models."""

from __future__ import annotations

from dataclasses import asdict

from comfy_api.latest import io

from ..core.specs import MembershipSpec, ScreenSpec
from ..core.whitebox import screen_membership
from . import _sockets as sockets
from ._evidence import Evidence, question_of
from ._host import HostProgress, drawn, work_folder
from ._photos import compared_sets
from ._schema import CATEGORY, accepted, inputs_of, prompts_input, resolution_input, spec_of
from ._suspect import prompts_from
from ._words import membership_words, score_table

MEMBERSHIP = f"{CATEGORY}/membership"


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
            ],
            outputs=[
                sockets.Evidence.Output("evidence", display_name="evidence"),
                io.Image.Output("plot", display_name="plot"),
                io.String.Output("table", display_name="table"),
                io.String.Output("summary", display_name="summary"),
            ],
        )

    @classmethod
    def execute(
        cls, suspect, vae, photos, controls, prompts, resolution, **settings
    ) -> io.NodeOutput:
        """Measure and compare."""
        from ..core.report.score_plot import scores_png

        spec, chosen = spec_of(MembershipSpec, settings), suspect.prompts(prompts)
        with suspect.pair(vae, resolution, chosen) as pair:
            mine, others, _ = compared_sets(photos, controls, pair.resolution)
            question, models = question_of(suspect, mine, others), pair.describe()
            all_settings = ScreenSpec(membership=spec)
            facts = {"kind": "membership", "question": question, "prompt": chosen[0]}
            with work_folder({**facts, "settings": asdict(spec), "models": models}) as case:
                found = screen_membership(
                    pair, mine, others, chosen, all_settings, case=case, progress=HostProgress()
                ).evidence
        named = [s.name for s in mine.images.sources]
        evidence = Evidence(
            "membership", found, question,
            {"settings": {"membership": asdict(spec)}, "models": models, "prompts": chosen,
             "prompts_from": prompts_from(prompts)},
        )  # fmt: skip
        plot = drawn(scores_png(*_scores(found.comparison), axis="log loss ratio, base/tuned"))
        table = score_table(found.comparison, named)
        return io.NodeOutput(evidence, plot, table, membership_words(found))

    @classmethod
    def validate_inputs(cls, timesteps="500") -> bool | str:
        """Timesteps that cannot be used are refused before anything runs."""
        return accepted(spec_of, MembershipSpec, {"timesteps": timesteps})


def _scores(comparison):
    return comparison.photo_scores, comparison.control_scores


NODES = [WhiteBox]
