"""Baselines of the black-box attack: what simpler scores say of the same images."""

from __future__ import annotations

from functools import partial

import torch
from comfy_api.latest import io

from ..core.attack.arms import check_matched_arms
from ..core.attack.baselines import BASELINES, base_calibrated, baseline_evidence, pixel_vectors
from ..core.attack.baselines.evidence import BaselineEvidence
from ..core.attack.baselines.reconstruction import draw_reconstructions
from ..core.casework.photo_sets import captions_for, compared_sets
from ..core.encoders.embedding import embed
from ..core.images.sets import Sets
from ..core.report.words import baseline_words, score_table
from ..core.specs import SampleSpec, VerdictSpec
from ..core.storage import Work
from ..core.types import BASE, TUNED, ImageBatch
from . import _sockets as sockets
from ._host import HostProgress, drawn, work_folder
from ._schema import CATEGORY, inputs_of, resolution_input, spec_of
from ._suspect import native_resolution

METHODS = ("centroid", "gan_leaks", "gan_leaks_cosine", "set_membership")
CALIBRATION = {"base": (TUNED, BASE), "none": (TUNED,)}


def result_outputs() -> list:
    """What every baseline gives."""
    return [
        io.Float.Output("auc", display_name="AUC"),
        io.Image.Output("plot", display_name="plot"),
        io.String.Output("table", display_name="table"),
        io.String.Output("summary", display_name="summary"),
    ]


class Baselines(io.ComfyNode):
    """Scores without training, on images that are there already."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsBaselines",
            display_name="Black-box Baselines",
            category=f"{CATEGORY}/attack",
            description="Simple scores of photos beside controls on the suspect's images. With "
            "the base's images the same score under the base is subtracted.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                sockets.Generated.Input("generated", tooltip="Images of arm tuned."),
                sockets.Descriptor.Input("descriptor"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                io.Combo.Input("method", options=list(METHODS), default="centroid"),
                resolution_input(),
                sockets.Generated.Input(
                    "base_generated", optional=True,
                    tooltip="Images of arm base: same prompts, scales, images and seed.",
                ),
            ],
            outputs=result_outputs(),
        )  # fmt: skip

    @classmethod
    def execute(
        cls, suspect, generated, descriptor, photos, controls, method, resolution,
        base_generated=None,
    ) -> io.NodeOutput:  # fmt: skip
        """Score."""
        arms = [generated] if base_generated is None else [generated, base_generated]
        suspect.stop_if_minor(s.prompt for arm in arms for s in arm.sources)
        side = resolution or native_resolution(suspect.base)
        sets, _ = compared_sets(photos, controls, side, HostProgress())

        rows = partial(_rows, method, descriptor)
        queries = torch.cat([rows(p.images) for p in (sets.photos, sets.controls)])
        if base_generated is None:
            scores = BASELINES[method](rows(generated), queries)
        else:
            check_matched_arms(generated, base_generated)
            scores = base_calibrated(BASELINES[method], *map(rows, arms), queries)
        return _result(method, scores, sets, calibrated=base_generated is not None)


class Reconstruction(io.ComfyNode):
    """Does the suspect, given a photo's own caption, draw something like it?"""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        solver = inputs_of(SampleSpec, ("sampler", "steps", "batch", "seed"))
        return io.Schema(
            node_id="LoraForensicsReconstruction",
            display_name="Caption Reconstruction",
            category=f"{CATEGORY}/attack",
            description="Draws images from each photo's own caption and compares them with it "
            "(Pang and Wang). Images are kept: an interrupted run resumes.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                sockets.Descriptor.Input("descriptor"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                _captions_input("photo_captions", "photo"),
                _captions_input("control_captions", "control"),
                io.Int.Input(
                    "images", default=3, min=1, max=1000, tooltip="Images drawn from each caption."
                ),
                io.Float.Input(
                    "scale", default=7.5, min=0.0, max=50.0, step=0.1, tooltip="Guidance scale."
                ),
                io.Combo.Input(
                    "calibrate", options=list(CALIBRATION), default="base",
                    tooltip="base: subtract the same score under the base; costs twice as much.",
                ),
                *solver,
                resolution_input(),
            ],
            outputs=result_outputs(),
        )  # fmt: skip

    @classmethod
    def execute(
        cls, suspect, vae, descriptor, photos, controls, photo_captions, control_captions,
        images, scale, calibrate, resolution, **settings,
    ) -> io.NodeOutput:  # fmt: skip
        """Draw from every caption with one or both models, then compare."""
        spec = spec_of(SampleSpec, settings)
        suspect.stop_if_minor([*photo_captions.splitlines(), *control_captions.splitlines()])
        side = resolution or native_resolution(suspect.base)
        sets, _ = compared_sets(photos, controls, side, HostProgress())
        known = suspect.prompts()[0]
        captions = (
            *captions_for(photo_captions, known, len(sets.photos), "photo"),
            *captions_for(control_captions, known, len(sets.controls), "control"),
        )
        queries = torch.cat([_vectors(p.images, descriptor) for p in (sets.photos, sets.controls)])
        with suspect.pair(vae, resolution, captions) as pair:
            facts = {"models": pair.describe(), "strength": suspect.strength}
            solver = [spec.sampler, spec.steps]
            with work_folder({"kind": "reconstruction", **facts, "solver": solver}) as case:
                scores = [
                    _drawn_scores(pair, captions, queries, descriptor, model=model, spec=spec,
                                  images=images, scale=scale, work=Work(case, HostProgress()))
                    for model in CALIBRATION[calibrate]
                ]  # fmt: skip
        score = scores[0] if len(scores) == 1 else scores[0] - scores[1]
        return _result("reconstruction", score, sets, calibrated=len(scores) > 1)


def _drawn_scores(pair, captions, queries, descriptor, **how) -> torch.Tensor:
    made = draw_reconstructions(pair, captions, **how)
    return BASELINES["reconstruction"](_vectors(made, descriptor), queries)


def _rows(method: str, descriptor, batch: ImageBatch) -> torch.Tensor:
    """What a method compares: pixels, or descriptors."""
    return pixel_vectors(batch.pixels) if method == "gan_leaks" else _vectors(batch, descriptor)


def _captions_input(name: str, what: str):
    help_text = (
        f"One line for all, or one line per {what} in the order of the files, as Caption Photos "
        "gives them. Empty: what the suspect file's metadata suggests."
    )
    return io.String.Input(name, default="", multiline=True, tooltip=help_text)


def _vectors(batch: ImageBatch, descriptor) -> torch.Tensor:
    return embed(batch, descriptor).vectors


def _result(method: str, scores: torch.Tensor, sets: Sets, *, calibrated: bool) -> io.NodeOutput:
    """AUC, plot, table, summary."""
    from ..core.report.score_plot import scores_png

    n = len(sets.photos)
    evidence: BaselineEvidence = baseline_evidence(
        method, scores[:n], scores[n:], VerdictSpec(), calibrated=calibrated,
        clusters=sets.sessions,
    )  # fmt: skip
    c = evidence.comparison
    plot = drawn(scores_png(c.photo_scores, c.control_scores, axis=method.replace("_", " ")))
    table = score_table(c, [s.name for s in sets.photos.images.sources])
    words = baseline_words(method, c, calibrated=calibrated)
    return io.NodeOutput(c.auc.auc, plot, table, words)


NODES = [Baselines, Reconstruction]
