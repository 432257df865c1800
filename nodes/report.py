"""From evidence to a verdict and a report, and the whole screening in one node."""

from __future__ import annotations

from dataclasses import asdict

from comfy_api.latest import io

from ..core.casework.screening import Findings, Question, probe_sets, screen
from ..core.encoders.embedding import embed
from ..core.errors import InputError
from ..core.specs import LINES, PRESETS, ScreenSpec, VerdictSpec
from ..core.statistics.probe import BlindProbe
from ..core.verdicts.verdict import decide
from . import _sockets as sockets
from ._evidence import (
    CaseBundle,
    Evidence,
    bundle,
    check_same_question,
    checked_rank,
    heat_pictures,
    pairs_sheet,
    question_of,
    write_bundle,
)
from ._host import HostProgress, check_name, nothing, output_folder, work_folder
from ._nulls import null_groups
from ._photos import compared_sets, stop_for_names
from ._schema import CATEGORY, accepted, inputs_of, prompts_input, resolution_input, spec_of
from ._suspect import claimed_images, prompts_from
from ._words import comparison_words, verdict_card, verdict_words
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
            outputs=[
                sockets.Case.Output("case", display_name="case"),
                io.String.Output("verdict", display_name="verdict"),
                io.String.Output("summary", display_name="summary"),
                io.Image.Output("sheet", display_name="sheet"),
            ],
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
            rank = checked_rank(suspect, photos, decoys)
            mine, others, dropped = compared_sets(photos, controls, pair.resolution)
            models, question = pair.describe(), question_of(suspect, mine, others)
            nulls = null_groups(suspect, vae, resolution, others, placebos, counterfactuals)
            asked = Question(
                mine, others, chosen, exchangeable, claimed_images(suspect), nulls=nulls,
                decoys=rank,
            )  # fmt: skip
            facts = {
                "settings": asdict(spec), "models": models, "prompts": chosen,
                "prompts_from": prompts_from(prompts),
            }  # fmt: skip
            kept = {"kind": "screen", "question": question, "descriptor": asdict(descriptor.id)}
            with work_folder({**kept, **facts}) as case:
                findings = screen(
                    pair, descriptor, asked, spec, lines=run, case=case, progress=HostProgress()
                )
                pictures = _drawn(findings, case) | heat_pictures(mine, findings.heat)
        made = bundle(
            suspect, mine, others, findings, facts=facts, exchangeable=exchangeable,
            dropped=dropped, pictures=pictures, decoys=rank, steps=photos.steps(pair.resolution),
        )  # fmt: skip
        return _told(made)


def decoys_input():
    """The rank of decoys, which only an owner who made some has."""
    help_text = "From Rank Decoys, where the owner published one of many secret variants."
    return sockets.Decoys.Input("decoys", optional=True, tooltip=help_text)


def _drawn(findings: Findings, case) -> dict:
    from ..core.images.photos import to_tensor
    from ..core.report.pictures import open_picture

    if findings.extraction is None:
        return {}
    files = [e.file for e in findings.extraction.extracted]
    opened = {f: open_picture(case.root, f) for f in files}
    return {f: to_tensor(image) for f, image in opened.items() if image is not None}


def _told(made: CaseBundle) -> io.NodeOutput:
    case = made.case
    words = verdict_words(case.verdict)
    sheet = nothing() if case.extraction is None else pairs_sheet(case.extraction, made.pictures)
    card = verdict_card(case.verdict, _rows(made))
    return io.NodeOutput(
        made, case.verdict.letter, words, sheet, ui={"lora_forensics_verdict": [card]}
    )


def _rows(made: CaseBundle) -> list[tuple[str, str]]:
    case = made.case
    found = (
        ("white-box", case.membership),
        ("extraction", case.extraction),
        ("black-box", case.attack),
    )
    return [
        ("photos", str(len(case.photos))),
        ("controls", str(len(case.controls))),
        *((name, comparison_words(line.comparison)) for name, line in found if line is not None),
    ]


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
            outputs=[
                sockets.Case.Output("case", display_name="case"),
                io.String.Output("verdict", display_name="verdict"),
                io.String.Output("summary", display_name="summary"),
                io.Image.Output("sheet", display_name="sheet"),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, suspect, descriptor, photos, controls, membership, exchangeable, extraction=None,
        attack=None, decoys=None, **settings,
    ) -> io.NodeOutput:  # fmt: skip
        """Judge, at the resolution of the white-box line."""
        stop_for_names(photos, controls)
        rank = checked_rank(suspect, photos, decoys)
        spec = ScreenSpec(verdict=spec_of(VerdictSpec, settings))
        lines = _lines(membership, extraction, attack)
        side = membership.facts["models"]["resolution"]
        mine, others, dropped = compared_sets(photos, controls, side)
        check_same_question(question_of(suspect, mine, others), list(lines.values()))
        prompts = tuple(membership.facts["prompts"])
        asked = Question(mine, others, prompts, exchangeable, decoys=rank)
        embedded = [embed(p.images, descriptor) for p in (mine, others)]
        findings = _judged(lines, probe_sets(asked, *embedded, spec), spec, asked)
        pictures = {k: v for line in lines.values() for k, v in line.pictures.items()}
        settings = {k: v for line in lines.values() for k, v in line.facts["settings"].items()}
        facts = {**membership.facts, "settings": {**settings, "verdict": asdict(spec.verdict)}}
        made = bundle(
            suspect, mine, others, findings, facts=facts, exchangeable=exchangeable,
            dropped=dropped, pictures=pictures, decoys=rank, steps=photos.steps(side),
        )  # fmt: skip
        return _told(made)


def _judged(
    lines: dict[str, Evidence], probe: BlindProbe | None, spec: ScreenSpec, asked: Question
) -> Findings:
    membership, extraction, attack = (
        lines[name].found if name in lines else None for name in LINES
    )
    verdict = decide(
        membership, probe, spec.verdict, exchangeable=asked.exchangeable, extraction=extraction,
        attack=attack, decoys=asked.decoys,
    )  # fmt: skip
    return Findings(probe, membership, extraction, attack, verdict)


def _lines(
    membership: Evidence, extraction: Evidence | None, attack: Evidence | None
) -> dict[str, Evidence]:
    """Evidence by line.

    Raises:
        InputError: BAD_INPUT when a line is connected to another line's input.
    """
    given = {"membership": membership, "extraction": extraction, "attack": attack}
    for name, line in given.items():
        if line is not None and line.line != name:
            raise InputError("BAD_INPUT", f"input {name} got evidence of {line.line}")
    return {name: line for name, line in given.items() if line is not None}


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
            outputs=[io.String.Output("path", display_name="path")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, case, name) -> io.NodeOutput:
        """Write."""
        check_name(name)
        root = output_folder("reports", f"{name}-{case.case.case_id}")
        write_bundle(root, case)
        shown = f"output/lora_forensics/reports/{root.name}/report.html"
        return io.NodeOutput(shown, ui={"text": [shown]})

    @classmethod
    def validate_inputs(cls, name="case") -> bool | str:
        """A bad name is refused before anything runs."""
        return accepted(check_name, name)


NODES = [QuickScreen, Verdict, SaveReport]
