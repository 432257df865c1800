"""Nodes that say where a picture was repainted: load, look, train, measure, explain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from comfy_api.latest import io

from ..core.casework.localizing import words_of_card
from ..core.errors import InputError, plural
from ..core.images.heat import tinted
from ..core.images.photos import to_picture
from ..core.inpainting.variants import ORIGINAL
from ..core.localization.classifiers import MEANS, explain, load_classifier
from ..core.localization.files import Localizer, load_localizer, save_localizer
from ..core.localization.localizing import Localization, localize
from ..core.localization.measuring import finish, words_of
from ..core.localization.settings import SETUPS, LocalizerSpec, LocalizeSpec
from ..core.localization.shipped import load_shipped, shipped_path
from ..core.localization.training import train_localizer
from ..core.statistics.overlap import baselines, overlap
from ..core.storage import Work
from . import _sockets as sockets
from ._examples import facts_of, masks_of, written
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
    to_pixels,
    work_folder,
)
from ._schema import accepted, inputs_of, outputs_of, spec_of
from .inpainting import LOCALIZATION

FOLDER = "lora_forensics_localizers"
CLASSIFIERS = "classifiers"
"""Model folders, beside checkpoints and loras."""
SHIPPED = "(shipped, small)"
NO_CLASSIFIER = "(no file in models/classifiers)"
FIELDS = (
    "method", "width", "side", "flip", "degrade", "batch", "iterations", "epochs", "learning_rate",
    "precision", "pooling", "alarm", "seed",
)  # fmt: skip


class LoadLocalizer(io.ComfyNode):
    """A localizer from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsLoadLocalizer",
            display_name="Load Localizer",
            category=LOCALIZATION,
            description="A network that marks repainted pixels, with the figures that it was "
            "measured to have.",
            inputs=[io.Combo.Input("name", options=[SHIPPED, *model_files(FOLDER)])],
            outputs=outputs_of(localizer=sockets.Localizer, card=io.String),
        )

    @classmethod
    def execute(cls, name) -> io.NodeOutput:
        """Read and check the file."""
        device = compute_device()
        localizer = (
            load_shipped(device)
            if name == SHIPPED
            else load_localizer(model_file(FOLDER, name), device)
        )
        return io.NodeOutput(localizer, card_words(localizer))

    @classmethod
    def fingerprint_inputs(cls, name) -> str:
        """A new file of the same name is read again."""
        return file_fingerprint(shipped_path() if name == SHIPPED else model_file(FOLDER, name))


def card_words(localizer: Localizer) -> str:
    """Figures, limits and hash."""
    limits = "\n".join(localizer.card.limits)
    return f"{words_of_card(localizer)}\n{limits}\nSHA-256 {localizer.sha256}"


class Localize(io.ComfyNode):
    """Where a picture was repainted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsLocalize",
            display_name="Localize Inpainting",
            category=LOCALIZATION,
            description="Marks the pixels that look repainted by a diffusion model. A map is a "
            "lead, not proof; it stays blank where untouched pictures of the size score as "
            "high too often.",
            inputs=[
                sockets.Localizer.Input("localizer"),
                io.Image.Input("images"),
                *inputs_of(LocalizeSpec, ("views", "overlap", "batch", "gate", "threshold")),
            ],
            outputs=[
                io.Mask.Output("map", display_name="map"),
                io.Image.Output("heat", display_name="heat"),
                io.Mask.Output("confidence", display_name="confidence"),
                io.Float.Output("score", display_name="highest_score"),
                io.String.Output("table", display_name="table"),
                io.String.Output("summary", display_name="summary"),
            ],
        )

    @classmethod
    def execute(cls, localizer, images, **settings) -> io.NodeOutput:
        """Look at every image."""
        spec, progress = spec_of(LocalizeSpec, settings), HostProgress()
        pixels = to_pixels(images)
        maps = [localize(to_picture(p), localizer, spec, progress=progress) for p in pixels]
        heat = [tinted(p, f.map) for p, f in zip(pixels, maps, strict=True)]
        # With one view nothing is there to agree: 0 says "unknown" in a MASK.
        sure = [f.confidence.nan_to_num(0.0) for f in maps]
        return io.NodeOutput(
            torch.stack([f.map for f in maps]),
            to_image(torch.stack(heat)),
            torch.stack(sure),
            max(f.score for f in maps),
            _table(maps),
            "\n".join([*_sentences(maps), card_words(localizer)]),
        )


def _table(found: list[Localization]) -> str:
    rows = [
        f"{i}\t{f.score:.4f}\t{'-' if f.p is None else f'{f.p:.4f}'}\t{f.area:.4f}\t"
        f"{'withheld' if f.blank else 'shown'}"
        for i, f in enumerate(found, 1)
    ]
    return "\n".join(["image\tscore\tp\tmarked\tmap", *rows])


def _sentences(found: list[Localization]) -> list[str]:
    return [
        f"image {i}: score {f.score:.3f}, {_rank(f)}; "
        f"{'map withheld' if f.blank else f'{f.area:.1%} marked'}"
        for i, f in enumerate(found, 1)
    ]


def _rank(found: Localization) -> str:
    if found.p is None:
        return "no gate"
    return f"as high in at most {found.p:.1%} of untouched pictures of {found.tiles} tiles"


class TrainLocalizer(io.ComfyNode):
    """A localizer on the graph's own examples."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        more = {"optional": True, "tooltip": "Of another generator, or of more photos."}
        return io.Schema(
            node_id="LoraForensicsTrainLocalizer",
            display_name="Train Localizer",
            category=LOCALIZATION,
            description="Trains a network to mark repainted pixels, sets its gate on untouched "
            "pictures, measures it on pictures that it did not see, and saves it with its card.",
            inputs=[
                sockets.Examples.Input("examples"),
                sockets.Examples.Input("more_examples", **more),
                sockets.Examples.Input("still_more", **more),
                sockets.Examples.Input(
                    "outside", optional=True,
                    tooltip="Of a generator that is never trained on: measured only.",
                ),
                io.Combo.Input(
                    "setup", options=["practical", "C", "B"], default="practical",
                    tooltip="practical: masks, with decoded and untouched pictures; C: masks, "
                    "spliced pictures only; B: image labels only.",
                ),
                *inputs_of(LocalizerSpec, FIELDS),
                io.String.Input("name", default="localizer", tooltip="Letters, digits, - and _."),
            ],
            outputs=outputs_of(localizer=sockets.Localizer, plot=io.Image, card=io.String),
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(
        cls, examples, setup, name, more_examples=None, still_more=None, outside=None, **settings
    ) -> io.NodeOutput:
        """Train, measure, save one file."""
        from ..core.report.loss_plot import losses_png

        path, progress = localizer_file(name), HostProgress()
        kind = SETUPS[setup]
        spec = replace(spec_of(LocalizerSpec, settings), supervision=kind.supervision)
        parts = [p for p in (examples, more_examples, still_more) if p is not None]
        foreign = [] if outside is None else [outside]
        with work_folder({"kind": "examples", "parts": facts_of(parts), "seed": spec.seed}) as case:
            whole = written(parts, case, spec.seed, progress)
        others = {}
        if foreign:
            facts = {"kind": "examples", "parts": facts_of(foreign), "seed": spec.seed}
            with work_folder(facts) as case:
                others["outside"] = written(foreign, case, spec.seed, progress)
        _check_splits(whole.pick(variants=(ORIGINAL,)).rows)
        chosen = whole.pick(variants=kind.variants)
        with work_folder(
            {"kind": "localizer", "examples": chosen.digest(), "setup": setup}
        ) as case:
            trained = train_localizer(
                chosen, spec, work=Work(case, progress), device=compute_device()
            )
        measured = finish(
            trained, whole, words_of(chosen.pick(split="train")),
            source_side=min(whole.picture(whole.rows[0]).size), outside=others, progress=progress,
        )  # fmt: skip
        save_localizer(measured.network, measured.card, path)
        localizer = load_localizer(path, compute_device())
        words = f"{path.name}\n{card_words(localizer)}"
        plot = drawn(losses_png(np.asarray(trained.losses)))
        return io.NodeOutput(localizer, plot, words, ui={"text": [words]})

    @classmethod
    def validate_inputs(cls, name="localizer") -> bool | str:
        """A bad name is refused before anything runs."""
        return accepted(localizer_file, name)


def _check_splits(rows) -> None:
    counts = {split: sum(r.split == split for r in rows) for split in ("train", "val", "test")}
    empty = [split for split, n in counts.items() if not n]
    if empty:
        raise InputError(
            "TOO_FEW_EXAMPLES",
            f"{plural(len(rows), 'photo')} give {counts}; 70% train, 15% choose the epoch and set "
            "the gate, 15% measure. Connect more photos: hundreds are good, 150 set a gate",
        )


def localizer_file(name: str) -> Path:
    """Where a trained localizer of this name lies.

    Raises:
        InputError: BAD_NAME.
    """
    check_name(name)
    return output_folder("localizers") / f"{name}.safetensors"


class MapMetrics(io.ComfyNode):
    """Maps against masks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsMapMetrics",
            display_name="Map Metrics",
            category=LOCALIZATION,
            description="How well maps find what masks mark: IoU, F1, pixels right (PBCA), "
            "average precision of pixels; beside what marking all, and marking none, would score.",
            inputs=[
                io.Mask.Input("map"),
                io.Mask.Input("mask", tooltip="White was repainted; one, or one per map."),
                *inputs_of(LocalizeSpec, ("threshold",)),
            ],
            outputs=[
                io.Float.Output("iou", display_name="IoU"),
                io.Float.Output("f1", display_name="F1"),
                io.Float.Output("pbca", display_name="PBCA"),
                io.Float.Output("pixel_ap", display_name="pixel_AP"),
                io.String.Output("table", display_name="table"),
            ],
        )

    @classmethod
    def execute(cls, map, mask, threshold) -> io.NodeOutput:
        """Compare pair by pair."""
        maps = map.detach().cpu().float().reshape(-1, *map.shape[-2:])
        masks = masks_of(mask, maps[:, None]).numpy() > 0
        overlaps = [overlap(m.numpy(), t, threshold) for m, t in zip(maps, masks, strict=True)]
        figures = np.mean([(o.iou, o.f1, o.pbca, o.pixel_ap) for o in overlaps], axis=0)
        guess = baselines(list(masks))
        rows = [
            f"{i}\t{o.iou:.4f}\t{o.f1:.4f}\t{o.pbca:.4f}\t{o.pixel_ap:.4f}"
            for i, o in enumerate(overlaps, 1)
        ]
        table = [
            "map\tIoU\tF1\tPBCA\tpixel AP", *rows,
            "mean\t" + "\t".join(f"{v:.4f}" for v in figures),
            f"marking none\t{guess.real_iou:.4f}\t-\t{guess.real_pbca:.4f}\t-",
            f"marking all\t{guess.fake_iou:.4f}\t-\t{guess.fake_pbca:.4f}\t-",
        ]  # fmt: skip
        return io.NodeOutput(*figures.tolist(), "\n".join(table))


class GradCam(io.ComfyNode):
    """What a classifier of the user's looks at."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsGradCam",
            display_name="Grad-CAM",
            category=LOCALIZATION,
            description="Where a classifier of your own finds evidence for a class. The map is "
            "relative: its peak is 1 on every image, so read the probability first.",
            inputs=[
                io.Image.Input("images"),
                io.Combo.Input("file", options=model_files(CLASSIFIERS) or [NO_CLASSIFIER]),
                io.String.Input(
                    "architecture", default="resnet50",
                    tooltip="A name of torchvision, or timm/NAME where timm is installed.",
                ),
                io.String.Input(
                    "layer", default="layer4", tooltip="Whose output is weighed; has a grid."
                ),
                io.Int.Input("target", default=1, min=0, max=10**6, tooltip="Class, from 0."),
                io.Int.Input("side", default=224, min=32, max=2048, tooltip="Input pixels."),
                io.Combo.Input("normalisation", options=list(MEANS), default="imagenet"),
            ],
            outputs=outputs_of(map=io.Mask, heat=io.Image, table=io.String),
        )  # fmt: skip

    @classmethod
    def execute(
        cls, images, file, architecture, layer, target, side, normalisation
    ) -> io.NodeOutput:
        """Explain every image."""
        classifier = load_classifier(
            model_file(CLASSIFIERS, file), architecture, layer, side=side,
            normalisation=normalisation, device=compute_device(),
        )  # fmt: skip
        pixels = to_pixels(images)
        explanations = [explain(classifier, to_picture(p), target) for p in pixels]
        heat = [tinted(p, f.map) for p, f in zip(pixels, explanations, strict=True)]
        rows = [f"{i}\t{f.logit:.4f}\t{f.probability:.4f}" for i, f in enumerate(explanations, 1)]
        return io.NodeOutput(
            torch.stack([f.map for f in explanations]),
            to_image(torch.stack(heat)),
            "\n".join(["image\tlogit\tprobability", *rows]),
        )


NODES = [LoadLocalizer, Localize, TrainLocalizer, MapMetrics, GradCam]
