"""What a person asked for, as paths and settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..specs import PRESETS, ScreenSpec
from .screening import LINES


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for, as paths and settings.

    Attributes:
        base: diffusers folder or single-file checkpoint.
        tuned: suspect LoRA, or a full tuned checkpoint.
        photos: folder of the photos in question.
        controls: folder of photos that were certainly not used.
        out: case folder.
        prompts: given by the person; empty takes them from the file's metadata.
        exchangeable: see `screening.Question`.
        spec: all settings.
        lines: lines of evidence to run.
        encoder: copy descriptor's name.
        models: folder with weights that the person brings.
        device: ``auto``, ``cpu``, ``cuda``.
        dtype: ``auto``, ``float32``, ``float16``, ``bfloat16``.
        strength: adapter strength.
        negatives: folder of label-0 images for the attack.
        shadow: LoRA whose images are label 0 for the attack.
        placebos: folder of adapters that were certainly not trained on the photos.
        rates: ``rates.json`` of a calibration study; None takes the one that ships.
        decoys: ``rank.json`` of the decoys that the photos' owner drew.
        captions: ``metadata.jsonl`` with a caption of each photo and control, for the prompt
            controls of the conditional gap.
        resnet: ImageNet weights of the attack model.
        pictures: keep small pictures of the photos for the report.
        minor_suspected: the person says that the material may show a minor.
        command: the command line, for the report.
    """

    base: Path
    tuned: Path
    photos: Path
    controls: Path
    out: Path
    prompts: tuple[str, ...] = ()
    exchangeable: bool = False
    spec: ScreenSpec = field(default_factory=lambda: PRESETS["standard"])
    lines: tuple[str, ...] = LINES
    encoder: str = "auto"
    models: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    strength: float = 1.0
    negatives: Path | None = None
    shadow: Path | None = None
    placebos: Path | None = None
    rates: Path | None = None
    decoys: Path | None = None
    captions: Path | None = None
    resnet: Path | None = None
    pictures: bool = True
    minor_suspected: bool = False
    command: str = ""

    @property
    def attack_weights(self) -> Path | None:
        """Weights that the attack starts from; None where it starts at random or does not run."""
        return self.resnet if "attack" in self.lines else None

    @property
    def label_0(self) -> tuple[str, Path | None]:
        """Where the attack's label-0 images come from, and the folder or LoRA that gives them."""
        if "attack" in self.lines and self.negatives is not None:
            return "folder", self.negatives
        if "attack" in self.lines and self.shadow is not None:
            return "shadow", self.shadow
        return "base", None
