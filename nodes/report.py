"""From evidence to a verdict and a report, and the whole screening in one node."""

from __future__ import annotations

from dataclasses import asdict

from comfy_api.latest import io

from ..core.backends.families import family_of_host
from ..core.casework.bundle import CaseBundle, Circumstances, build_case
from ..core.casework.exhibits import exhibits, pairs_sheet
from ..core.casework.intake import base_caveats, claimed_images
from ..core.casework.lines import check_question, checked_rank, merged_facts, named_lines
from ..core.casework.photo_sets import compared_sets, stop_for_names
from ..core.casework.screening import Question, Screened, conclude, screen
from ..core.encoders.embedding import embed
from ..core.rates.reading import shipped_rates
from ..core.report.words import case_words, verdict_card
from ..core.specs import LINES, PRESETS, ScreenSpec, VerdictSpec
from ..core.storage import Work, digest_of
from . import _sockets as sockets
from ._host import (
    HostProgress,
    check_name,
    compute_device,
    nothing,
    output_folder,
    png_image,
    work_folder,
)
from ._nulls import null_groups
from ._schema import (
    CATEGORY,
    accepted,
    inputs_of,
    outputs_of,
    prompts_input,
    resolution_input,
    spec_of,
)
from ._suspect import Suspect, prompts_from
from .membership import nulls_inputs

REPORT = f"{CATEGORY}/report"
EXCHANGEABLE = (
    "Switch on only if the controls are a hold-out of the photos' own source: the same camera, "
    "people, time. Without it no verdict A is given."
)
LINE_CHOICES = {
    "all lines": LINES,
    "white-box only": LINES[:1],
    "white-box and extraction": LINES[:2],
}


class QuickScreen(io.ComfyNode):
    """All lines, one verdict."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsScreen",
            display_name="Screen Suspect",
            category=REPORT,
            description="Was this suspect trained on these photos? All lines of evidence and a "
            "worded verdict in one node. Finished work is kept: an interrupted run resumes.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                sockets.Descriptor.Input("descriptor"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                prompts_input(),
                io.Boolean.Input("exchangeable", default=False, tooltip=EXCHANGEABLE),
                io.Combo.Input("preset", options=list(PRESETS), default="quick"),
                io.Combo.Input("lines", options=list(LINE_CHOICES), default="all lines"),
                resolution_input(),
                *nulls_inputs(),
                decoys_input(),
            ],
            outputs=outputs_of(
                case=sockets.Case, verdict=io.String, summary=io.String, sheet=io.Image
            ),
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, suspect, vae, descriptor, photos, controls, prompts, exchangeable, preset, lines,
        resolution, placebos=None, counterfactuals=None, decoys=None,
    ) -> io.NodeOutput:  # fmt: skip
        """Screen."""
        chosen, spec, run = suspect.prompts(prompts), PRESETS[preset], LINE_CHOICES[lines]
        with suspect.pair(vae, resolution, chosen) as pair:
            stop_for_names(photos, controls)
            rank = checked_rank(suspect.hashes, photos, decoys)
            sets, dropped = compared_sets(photos, controls, pair.resolution, HostProgress())
            models = pair.describe()
            nulls = null_groups(suspect, vae, resolution, sets.controls, placebos, counterfactuals)
            question = Question(
                sets=sets, prompts=chosen, exchangeable=exchangeable, nulls=nulls, decoys=rank,
                n0=claimed_images(suspect.inspection), device=compute_device(),
                caveats=base_caveats(suspect.inspection),
            )  # fmt: skip
            facts = {
                "settings": asdict(spec), "models": models, "prompts": chosen,
                "prompts_from": prompts_from(prompts),
            }  # fmt: skip
            asked = {"question": suspect.question(sets), "descriptor": asdict(descriptor.id)}
            with work_folder({"kind": "screen", **asked, **facts}) as case:
                screened = screen(
                    pair, descriptor, question, spec, lines=run, work=Work(case, HostProgress())
                )
                pictures = _drawn(screened, case)
        about = _about(suspect, sets, facts, dropped=dropped, steps=photos.steps(pair.resolution))
        return _result(question, screened, about, pictures)


def decoys_input():
    """The rank of decoys, which only an owner who made some has."""
    help_text = "From Rank Decoys, where the owner published one of many secret variants."
    return sockets.Decoys.Input("decoys", optional=True, tooltip=help_text)


def _drawn(screened: Screened, case) -> dict:
    from ..core.images.photos import to_tensor
    from ..core.report.pictures import open_picture

    if screened.findings.extraction is None:
        return {}
    files = [e.file for e in screened.findings.extraction.extracted]
    opened = {f: open_picture(case.root, f) for f in files}
    return {f: to_tensor(image) for f, image in opened.items() if image is not None}


def _about(suspect: Suspect, sets, facts: dict, *, dropped, steps) -> Circumstances:
    """What the graph knows of a case.

    Its base is known by its weights as they run, not by a file: a case is inside a calibration
    study's range only if the study was made on that hash.
    """
    family = family_of_host(facts["models"]["family"])
    return Circumstances(
        case_id=digest_of([suspect.question(sets), facts["settings"]])[:12],
        command="ComfyUI",
        models=facts["models"],
        settings=facts["settings"],
        prompts_from=facts["prompts_from"],
        family="" if family is None else family.name,
        inspection=suspect.inspection,
        dropped=dropped,
        canonical=steps,
    )


def _result(question: Question, screened: Screened, about: Circumstances, drawn: dict):
    """The case, its letter, its words and its sheet; the card on the page."""
    alike = screened.findings.look_alikes
    pictures = exhibits(question.sets, screened.heat, alike) | drawn
    case = build_case(question, screened.findings, about, rates=shipped_rates(), shown=pictures)
    extraction = case.extraction
    sheet = nothing() if extraction is None else png_image(pairs_sheet(extraction, pictures))
    return io.NodeOutput(
        CaseBundle(case, pictures), case.verdict.letter, case_words(case), sheet,
        ui={"lora_forensics_verdict": [verdict_card(case)]},
    )  # fmt: skip


class Verdict(io.ComfyNode):
    """A verdict from lines that ran in nodes of their own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        names = ("alpha", "alpha_strong", "probe_limit", "power")
        return io.Schema(
            node_id="LoraForensicsVerdict",
            display_name="Verdict",
            category=REPORT,
            description="The worded answer with its error rates and caveats. It rests on the "
            "white-box line; the others are reported beside it and never raise the letter.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                sockets.Descriptor.Input("descriptor"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                sockets.Evidence.Input("membership"),
                sockets.Evidence.Input("extraction", optional=True),
                sockets.Evidence.Input("attack", optional=True),
                io.Boolean.Input("exchangeable", default=False, tooltip=EXCHANGEABLE),
                *inputs_of(VerdictSpec, names),
                decoys_input(),
            ],
            outputs=outputs_of(
                case=sockets.Case, verdict=io.String, summary=io.String, sheet=io.Image
            ),
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, suspect, descriptor, photos, controls, membership, exchangeable, extraction=None,
        attack=None, decoys=None, **settings,
    ) -> io.NodeOutput:  # fmt: skip
        """Judge, at the resolution of the white-box line."""
        stop_for_names(photos, controls)
        lines = named_lines(membership=membership, extraction=extraction, attack=attack)
        rank = checked_rank(suspect.hashes, photos, decoys)
        spec = ScreenSpec(verdict=spec_of(VerdictSpec, settings))
        side = membership.facts["models"]["resolution"]
        sets, dropped = compared_sets(photos, controls, side, HostProgress())
        check_question(suspect.question(sets), lines)
        question = Question(
            sets=sets, prompts=tuple(membership.facts["prompts"]), exchangeable=exchangeable,
            decoys=rank, caveats=base_caveats(suspect.inspection),
        )  # fmt: skip
        embedded = (embed(p.images, descriptor) for p in (sets.photos, sets.controls))
        evidence = {name: line.evidence for name, line in lines.items()}
        findings = conclude(question, *embedded, spec, descriptor, **evidence)
        own, pictures = merged_facts(lines)
        facts = {**membership.facts, "settings": {**own, "verdict": asdict(spec.verdict)}}
        about = _about(suspect, sets, facts, dropped=dropped, steps=photos.steps(side))
        return _result(question, Screened(findings), about, pictures)


class SaveReport(io.ComfyNode):
    """HTML and JSON into the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsReport",
            display_name="Save Report",
            category=REPORT,
            description="Writes report.html (self-contained, no script), report.json and pictures "
            "into output/lora_forensics/reports. Open the HTML file from disk.",
            inputs=[
                sockets.Case.Input("case"),
                io.String.Input("name", default="case", tooltip="Letters, digits, - and _ only."),
            ],
            outputs=outputs_of(path=io.String),
            is_output_node=True,
        )

    @classmethod
    def execute(cls, case, name) -> io.NodeOutput:
        """Write."""
        check_name(name)
        root = output_folder("reports", f"{name}-{case.case.case_id}")
        case.write(root)
        shown = f"output/lora_forensics/reports/{root.name}/report.html"
        return io.NodeOutput(shown, ui={"text": [shown]})

    @classmethod
    def validate_inputs(cls, name="case") -> bool | str:
        """A bad name is refused before anything runs."""
        return accepted(check_name, name)


NODES = [QuickScreen, Verdict, SaveReport]
