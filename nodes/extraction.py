"""Extraction in one node, and its comparison with photos."""

from __future__ import annotations

from dataclasses import asdict

from comfy_api.latest import io

from ..core.casework.exhibits import exhibits, grid, pairs_sheet
from ..core.casework.intake import claimed_images
from ..core.casework.lines import DrawnExtraction, LineEvidence
from ..core.casework.photo_sets import compared_sets
from ..core.encoders.embedding import embed
from ..core.extraction.line import Extraction, extract, judge
from ..core.report.words import extraction_words
from ..core.specs import ExtractSpec, VerdictSpec
from ..core.storage import Work
from . import _sockets as sockets
from ._host import HostProgress, png_image, to_image, work_folder
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

EXTRACTION = f"{CATEGORY}/extraction"
FIELDS = (
    "images", "guidance", "scale", "correction", "pilot", "pilot_images", "clusters", "sampler",
    "steps", "batch", "seed",
)  # fmt: skip
DEFAULT_CLUSTERS = 10


class Extract(io.ComfyNode):
    """FineXtract end to end, without any photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsExtract",
            display_name="Extract Training Images (FineXtract)",
            category=EXTRACTION,
            description="Draws many images with model guidance, groups near-copies, and returns "
            "one representative a group. scale 0 lets a pilot choose the weight without any "
            "photo. Images are kept: an interrupted run resumes.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                sockets.Descriptor.Input("descriptor"),
                prompts_input(),
                *inputs_of(ExtractSpec, FIELDS),
                resolution_input(),
            ],
            outputs=outputs_of(
                extraction=sockets.Extraction,
                generated=sockets.Generated,
                representatives=io.Image,
                sheet=io.Image,
                table=io.String,
            ),
        )

    @classmethod
    def execute(cls, suspect, vae, descriptor, prompts, resolution, **settings) -> io.NodeOutput:
        """Draw, embed, group."""
        spec, chosen = spec_of(ExtractSpec, settings), suspect.prompts(prompts)
        n0 = spec.clusters or claimed_images(suspect.inspection) or DEFAULT_CLUSTERS
        with suspect.pair(vae, resolution, chosen) as pair:
            facts = {"models": pair.describe(), "strength": suspect.strength}
            with work_folder({"kind": "extraction", **facts}) as case:
                drawn = extract(pair, descriptor, chosen, n0, spec, work=Work(case, HostProgress()))
        best = drawn.images.select(drawn.clusters.medoids.tolist())
        sheet = to_image(grid(best.pixels)[None])
        kept = DrawnExtraction(drawn, asdict(spec))
        return io.NodeOutput(kept, drawn.images, to_image(best.pixels), sheet, _table(drawn))

    @classmethod
    def validate_inputs(cls, pilot="2") -> bool | str:
        """Pilot weights that cannot be used are refused before anything runs."""
        return accepted(spec_of, ExtractSpec, {"pilot": pilot})


def _table(drawn: Extraction) -> str:
    rows = [
        f"{k}\t{drawn.clusters.sizes[k]}\t{drawn.clusters.intra[k]:.3f}\t{source.guidance}\t"
        f"{source.seed}\t{source.prompt}\t{source.sha256}"
        for k, source in enumerate(drawn.images.sources[i] for i in drawn.clusters.medoids.tolist())
    ]
    pilot = [f"pilot\tw'={p.scale:g}\t{p.score:.4f}" for p in drawn.pilot]
    return "\n".join([*pilot, "group\tsize\tintra\tguidance\tseed\tprompt\tsha256", *rows])


class JudgeExtraction(io.ComfyNode):
    """Extracted pictures beside photos and controls."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsJudgeExtraction",
            display_name="Judge Extraction",
            category=EXTRACTION,
            description="Average similarity (AS) and extraction success rate (A-ESR) of photos "
            "and, beside them, of controls. Changing a threshold here samples nothing anew.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                sockets.Extraction.Input("extraction"),
                sockets.Descriptor.Input("descriptor"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                *inputs_of(VerdictSpec, ("alpha", "alpha_strong")),
                resolution_input(),
            ],
            outputs=outputs_of(evidence=sockets.Evidence, sheet=io.Image, summary=io.String),
        )

    @classmethod
    def execute(
        cls, suspect, extraction, descriptor, photos, controls, resolution, **settings
    ) -> io.NodeOutput:
        """Compare."""
        spec = spec_of(VerdictSpec, settings)
        suspect.stop_if_minor(s.prompt for s in extraction.extraction.images.sources)
        side = resolution or native_resolution(suspect.base)
        sets, _ = compared_sets(photos, controls, side, HostProgress())
        embedded = (embed(p.images, descriptor) for p in (sets.photos, sets.controls))
        found = judge(extraction.extraction, *embedded, spec, clusters=sets.sessions)
        pictures = extracted_pictures(extraction.extraction)
        facts = {"settings": {"extract": extraction.settings}}
        evidence = LineEvidence("extraction", found, suspect.question(sets), facts, pictures)
        sheet = png_image(pairs_sheet(found, {**exhibits(sets), **pictures}))
        return io.NodeOutput(evidence, sheet, extraction_words(found))


def extracted_pictures(extraction: Extraction) -> dict:
    """Representatives by the path that the report looks for."""
    index = extraction.clusters.medoids.tolist()
    return {extraction.images.sources[i].name: extraction.images.pixels[i] for i in index}


NODES = [Extract, JudgeExtraction]
