"""The black-box attack as nodes: train, load, score; and the baseline without training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from comfy_api.latest import io

from ..core.attack.arms import check_matched_arms
from ..core.attack.baselines.centroid import centroid_scores
from ..core.attack.files import AttackFacts, AttackModel, load_attack, save_attack
from ..core.attack.line import score_attack, train_classifiers
from ..core.casework.lines import LineEvidence
from ..core.casework.photo_sets import compared_sets
from ..core.errors import InputError, plural
from ..core.lora.header import sha256_file
from ..core.report.words import attack_words, score_table, training_words
from ..core.specs import AttackSpec, VerdictSpec
from ..core.verdicts.comparison import compare, in_words
from . import _sockets as sockets
from ._host import (
    HostProgress,
    check_name,
    compute_device,
    drawn,
    file_fingerprint,
    model_file,
    model_files,
    output_folder,
    to_image,
)
from ._schema import CATEGORY, accepted, inputs_of, outputs_of, resolution_input, spec_of
from ._suspect import native_resolution

ATTACK = f"{CATEGORY}/attack"
FOLDER = "lora_forensics_attack"
"""The model folder, beside checkpoints and loras."""
FIELDS = ("seeds", "epochs", "learning_rate", "minibatch", "side")
ADDED = ("augment", "selection", "scores", "holdout", "precision")
KNOWN = (*FIELDS, *ADDED, "images", "cfgs")
"""Settings that training knows; how the images were drawn is the sampler's to say."""
NO_FILE = "(no attack model; train one first)"


class TrainAttack(io.ComfyNode):
    """ResNet-18 on generated images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsTrainAttack",
            display_name="Train Attack Model",
            category=ATTACK,
            description="Tells the suspect's images from the base's. Draw both with the "
            "Multi-CFG Sampler: same prompts, scales, images and seed, once with arm tuned and "
            "once with arm base.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                sockets.Generated.Input("positives", tooltip="Images of arm tuned."),
                sockets.Generated.Input("negatives", tooltip="Images of arm base."),
                *inputs_of(AttackSpec, FIELDS),
                io.String.Input("name", default="attack", tooltip="Letters, digits, - and _ only."),
                *inputs_of(AttackSpec, ADDED, optional=True),
            ],
            outputs=outputs_of(attack_model=sockets.AttackModel, plot=io.Image, summary=io.String),
            is_output_node=True,
        )

    @classmethod
    def execute(cls, suspect, positives, negatives, name, **settings) -> io.NodeOutput:
        """Train every seed, save one file."""
        from ..core.report.training_plot import attack_training_png

        suspect.stop_if_minor(s.prompt for arm in (positives, negatives) for s in arm.sources)
        scales = check_matched_arms(positives, negatives)
        spec = replace(spec_of(AttackSpec, settings), cfgs=scales, images=len(positives))
        trained = train_classifiers(
            positives.pixels, negatives.pixels, spec, device=compute_device(),
            progress=HostProgress(),
        )  # fmt: skip
        prompts = tuple(dict.fromkeys(s.prompt for s in positives.sources))
        facts = AttackFacts(
            base_sha256=suspect.hashes.base, tuned_sha256=suspect.hashes.tuned, prompts=prompts,
            negatives_from="base", pretrained=False, images=len(positives), forwards=0, spec=spec,
        )  # fmt: skip
        model, path = AttackModel(trained, facts), attack_path(name)
        save_attack(model, path)
        plot = attack_training_png(
            [c.losses for c in trained], [c.heldout_scores() for c in trained]
        )
        summary = f"{path.name}, SHA-256 {sha256_file(path)}\n{training_words(trained)}"
        return io.NodeOutput(model, drawn(plot), summary, ui={"text": [summary]})

    @classmethod
    def validate_inputs(cls, name="attack") -> bool | str:
        """A bad name is refused before anything runs."""
        return accepted(check_name, name)


def attack_path(name: str) -> Path:
    """Where a trained attack of this name lies.

    Raises:
        InputError: BAD_NAME.
    """
    check_name(name)
    return output_folder("attack_models") / f"{name}.safetensors"


class LoadAttack(io.ComfyNode):
    """A trained attack from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsLoadAttack",
            display_name="Load Attack Model",
            category=ATTACK,
            inputs=[io.Combo.Input("name", options=model_files(FOLDER) or [NO_FILE])],
            outputs=outputs_of(attack_model=sockets.AttackModel, summary=io.String),
        )

    @classmethod
    def execute(cls, name) -> io.NodeOutput:
        """Read and check the file."""
        path = model_file(FOLDER, name)
        model = load_attack(path)
        facts = model.facts
        return io.NodeOutput(
            model,
            f"SHA-256 {sha256_file(path)}\nfor suspect {facts.tuned_sha256}\n"
            f"{plural(len(model.classifiers), 'seed')}, {plural(facts.images, 'image')} per arm",
        )

    @classmethod
    def fingerprint_inputs(cls, name) -> str:
        """A model trained anew under the same name is read again."""
        return file_fingerprint(model_file(FOLDER, name))


class ScoreAttack(io.ComfyNode):
    """The attack on photos and controls."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsScoreAttack",
            display_name="Score Black-box Membership",
            category=ATTACK,
            description="Logits of photos against controls. It tells sources apart, not photos: "
            "published AUC 0.53 on seen against unseen photos of one source.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                sockets.AttackModel.Input("attack_model"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                resolution_input(),
            ],
            outputs=outputs_of(
                evidence=sockets.Evidence, plot=io.Image, table=io.String, summary=io.String
            ),
        )

    @classmethod
    def execute(cls, suspect, vae, attack_model, photos, controls, resolution) -> io.NodeOutput:
        """Pass photos through the codec as every generated image was, then score."""
        from ..core.report.score_plot import scores_png

        if attack_model.facts.tuned_sha256 != suspect.hashes.tuned:
            raise InputError(
                "MIXED_EVIDENCE", "this attack model was trained on another suspect's images"
            )
        with suspect.pair(vae, resolution) as pair:
            sets, _ = compared_sets(photos, controls, pair.resolution, HostProgress())
            pixels = [p.images.pixels for p in (sets.photos, sets.controls)]
            if attack_model.spec.codec == "on":
                pixels = [pair.decode(pair.encode(p)) for p in pixels]
        attack = score_attack(attack_model, *pixels, VerdictSpec(), clusters=sets.sessions)
        spec = asdict(attack_model.spec)
        facts = {"settings": {"attack": {k: spec[k] for k in KNOWN}}}
        evidence = LineEvidence("attack", attack, suspect.question(sets), facts)
        c = attack.comparison
        plot = drawn(scores_png(c.photo_scores, c.control_scores, axis="logit"))
        table = score_table(c, [s.name for s in sets.photos.images.sources])
        return io.NodeOutput(evidence, plot, table, attack_words(attack))


class ClipScore(io.ComfyNode):
    """The paper's CLIP baseline on the host's CLIP vision models."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsClipScore",
            display_name="Zero-shot CLIP Score",
            category=ATTACK,
            description="Cosine of each photo with the mean CLIP feature of the suspect's images, "
            "beside controls. It sees likeness, not use.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.ClipVision.Input("clip_vision"),
                sockets.Generated.Input("generated"),
                sockets.Photos.Input("photos"),
                sockets.Photos.Input("controls"),
                resolution_input(),
            ],
            outputs=[
                io.Float.Output("auc", display_name="AUC"),
                io.String.Output("table", display_name="table"),
                io.String.Output("summary", display_name="summary"),
            ],
        )

    @classmethod
    def execute(
        cls, suspect, clip_vision, generated, photos, controls, resolution
    ) -> io.NodeOutput:
        """Embed all three with one model."""
        suspect.stop_if_minor(s.prompt for s in generated.sources)
        side = resolution or native_resolution(suspect.base)
        sets, _ = compared_sets(photos, controls, side, HostProgress())
        pixels = [generated.pixels, sets.photos.images.pixels, sets.controls.images.pixels]
        center, x, y = (clip_vision.encode_image(to_image(p))["image_embeds"].cpu() for p in pixels)
        comparison = compare(
            *(centroid_scores(center, v).numpy() for v in (x, y)), VerdictSpec(),
            clusters=sets.sessions,
        )  # fmt: skip
        table = score_table(comparison, [s.name for s in sets.photos.images.sources])
        return io.NodeOutput(comparison.auc.auc, table, f"CLIP baseline: {in_words(comparison)}")


NODES = [TrainAttack, LoadAttack, ScoreAttack, ClipScore]
